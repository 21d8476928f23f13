import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import serving_parts as parts
from prefect_stack import until
from store_parts import NOON
from trial_parts import CHALLENGER, CHAMPION, Place, ask, factor_of, until_tried

from data.packing import ListPacker, unpack_rows
from models.torch_session import TorchSession
from monitoring.records import Label, WindowKey
from monitoring.store.journal import Entry, Logged
from monitoring.store.trials import Trial
from monitoring.tally import Tally
from serving.shadowing import WAITING_ROWS
from serving.state import State
from serving.validation import ReadRow
from tasks import trials

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    made.store.close()


def named(row: dict[str, Any], trial: Trial) -> None:
    """Hold what a row says of who answered it against the key that it was dealt by."""
    tried = factor_of(trial, row["id"]) == CHALLENGER
    assert (row.get("trial"), row.get("version")) == ((trial.id, "7") if tried else (None, None))


def test_a_canary_answers_its_keys_and_no_others_and_each_row_says_who_answered(place: Place) -> None:
    trial = place.trial("canary", 0.4)
    place.rounds.attend()
    ids = [f"house {n}" for n in range(40)]
    with parts.serving(place.home) as service, httpx.Client(base_url=service.url) as client:
        until_tried(client, place, trial)
        answer = ask(client, ids)
        assert (answer["generation"], answer["version"]) == (1, "101")
        assert {row["value"] for row in answer["predictions"]} == {10 * CHAMPION, 10 * CHALLENGER}
        for row in answer["predictions"]:
            assert row["value"] == 10 * factor_of(trial, row["id"])
            named(row, trial)
        alone = [ask(client, [one])["predictions"][0] for one in ids]
        assert alone == answer["predictions"]
        table = pa.table({"id": [*ids[:5], "new"], "size": [10.0] * 6, "note": ["a"] * 6})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        headers = {"content-type": ARROW, "accept": ARROW}
        bulk = client.post("/v1/prices/predict", content=sink.getvalue().to_pybytes(), headers=headers)
        for row in pa.ipc.open_stream(bulk.content).read_all().to_pylist():
            assert row["value"] == 10 * factor_of(trial, row["id"])
            named(row, trial)
        keyed = {"rows": [{"id": one, "size": 10.0, "note": "a"} for one in ("k1", "k2", "k3", "k4", "k5")]}
        first, again = (
            client.post("/v1/prices/predict", json=keyed, headers={"idempotency-key": "one"}) for _ in range(2)
        )
        assert first.status_code == 200
        assert first.content == again.content
        mine = next(one for one in ids if factor_of(trial, one) == CHALLENGER)
        told = client.get(f"/v1/prices/predictions/{mine}").json()
        assert (told["generation"], told["version"], told["trial"]) == (1, "7", trial.id)
        place.rounds.attend()
        assert "answers 0.4 of the keys" in client.get("/").text
        assert f'trial="{trial.id}",who="challenger"' in client.get("/metrics").text
        trials.stop(place.resources, "prices", actor="ada", reason="enough")  # and no keeper looks

        def over() -> bool:
            rows = ask(client, [f"{time.monotonic()}-{n}" for n in range(20)])["predictions"]
            return not any("trial" in row for row in rows)

        until(over, 10.0)
    logged = place.store.predictions.find("prices", ids)
    for one in logged.values():
        assert one.output == {"value": 10 * factor_of(trial, one.id)}
        assert one.trial == (trial.id if factor_of(trial, one.id) == CHALLENGER else 0)
        assert unpack_rows(parts.PRICES, [one.features])["house"][0] == one.id
    window = WindowKey("prices", 1, 0, NOON, NOON, 0, 10**6)
    assert {one.output["value"] for one in place.store.predictions.rows(window)} == {10 * CHAMPION}


def test_a_shadow_is_logged_beside_the_answers_and_returned_to_nobody(place: Place) -> None:
    trial = place.trial("shadow")
    place.rounds.attend()
    ids = [f"house {n}" for n in range(60)]
    with parts.serving(place.home) as service, httpx.Client(base_url=service.url) as client:
        until_tried(client, place, trial)
        for one in ids:
            (row,) = ask(client, [one])["predictions"]
            assert row == {"id": one, "value": 10 * CHAMPION}
        truth = [{"id": one, "label": 10 * CHALLENGER} for one in ids]
        assert client.post("/v1/prices/labels", json={"labels": truth}).json()["new"] == len(ids)
        until(lambda: len(place.store.shadows.pairs(trial, 1000, labelled=True)) == len(ids))
    pairs = place.store.shadows.pairs(trial, 1000, labelled=True)
    assert {one.id for one in pairs} == set(ids)
    assert {(one.champion["value"], one.challenger["value"]) for one in pairs} == {(10 * CHAMPION, 10 * CHALLENGER)}
    place.look()
    compared = place.found(trial).compared
    assert compared is not None
    assert (compared["behind"], compared["agreement"], compared["dropped"]) == ([], 0.0, 0)
    told = compared["metric"]
    assert (told["champion"], told["challenger"], told["gain"], told["rows"]) == (10.0, 0.0, 10.0, 60)


def test_a_canary_that_fails_is_rolled_back_by_itself_while_the_champion_answers_its_rows(place: Place) -> None:
    trial = place.trial("canary", 0.5, factor=None)
    place.rounds.attend()
    with parts.serving(place.home) as service, httpx.Client(base_url=service.url) as client:
        until_tried(client, place, trial)
        for n in range(30):
            rows = ask(client, [f"{n}-{i}" for i in range(6)], size=-4.0)["predictions"]
            assert [row["value"] for row in rows] == [-4.0 * CHAMPION] * 6
            assert not any("trial" in row for row in rows)

        def rolled_back() -> bool:
            place.look()
            return place.found(trial).ended_at is not None

        until(rolled_back, 10.0)
        assert not (place.folder / "trial.json").exists()
    ended = place.found(trial)
    assert ended.outcome == "behind"
    assert "the margin is 5.00%" in (ended.reason or "")
    assert place.store.ledger.generation("prices").number == 1  # type: ignore[union-attr]
    lines = place.store.ledger.decisions("prices", kinds=("trial",), subject="version 7")
    assert [line.inputs.get("outcome") for line in lines] == ["behind", None]
    told = [one.payload for one in place.store.outbox.due(NOON.replace(year=2100), 100)]
    assert [one["trial"] for one in told] == [trial.id]


def row(id_: str, factor: float, trial: int = 0) -> Logged:
    packed = ListPacker(parts.PRICES).pack(id_, id_, None, ["a", 10.0])
    return Logged(id_, packed, b'{"value":%d}' % (10 * factor), 1, None, trial)


def label(place: Place, ids: list[str], value: float) -> None:
    assert place.store.labels.record("prices", [Label(one, value, NOON) for one in ids], NOON).new == len(ids)


def test_a_canary_whose_answers_turn_out_worse_is_rolled_back_once_that_is_shown(place: Place) -> None:
    trial = place.trial("canary", 0.5)
    ids = [f"house {n}" for n in range(120)]
    rows = [row(one, factor_of(trial, one), trial.id * (factor_of(trial, one) == CHALLENGER)) for one in ids]
    place.store.journal.write([Entry("prices", 1, datetime.now(UTC), rows, named=True)])
    label(place, ids[:60], 10 * CHAMPION + 0.1)
    place.look()
    assert place.found(trial).outcome is None  # of neither enough
    label(place, ids[60:], 10 * CHAMPION + 0.1)
    place.look()
    ended = place.found(trial)
    assert ended.outcome == "behind"
    assert "mae 9.9 against the champion's 0.1" in (ended.reason or "")
    compared = ended.compared
    assert compared is not None
    assert compared["metric"]["high"] < -9


def test_a_canary_as_good_as_the_champion_goes_on(place: Place) -> None:
    trial = place.trial("canary", 0.5, factor=CHAMPION)
    ids = [f"house {n}" for n in range(200)]
    rows = [row(one, CHAMPION, trial.id * (factor_of(trial, one) == CHALLENGER)) for one in ids]
    place.store.journal.write([Entry("prices", 1, datetime.now(UTC), rows, named=True)])
    label(place, ids, 10 * CHAMPION + 0.1)
    place.look()
    found = place.found(trial)
    assert found.outcome is None
    assert found.compared is not None
    assert found.compared["metric"]["gain"] == pytest.approx(0)


def test_a_trial_that_does_not_verify_never_runs_and_is_ended_with_the_reason(place: Place) -> None:
    trial = place.trial("canary", 0.5)
    place.rounds.attend()
    network = place.folder / f"trial-{trial.id}" / "network.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    state = State(place.resources.settings)
    state.generations.look()
    served = state.generations.of("prices")
    assert (served.generation, served.challenger, state.generations.problems) == (1, None, {})
    state.shadowing.write()
    state.store.close()
    place.rounds.attend()
    assert place.found(trial).outcome == "unfit"
    assert "corrupt" in (place.found(trial).reason or "")
    assert not (place.folder / "trial.json").exists()


def test_a_shadow_that_is_too_busy_drops_rows_and_counts_them(place: Place) -> None:
    trial = place.trial("shadow")
    place.rounds.attend()
    state = State(place.resources.settings)
    state.generations.look()
    served = state.generations.of("prices")
    assert served.challenger is not None
    state.shadowing.offer(served.challenger, [], [])  # an empty list is nothing to ask
    for n in range(40):  # nobody takes them
        rows = [ReadRow(f"{n}-{i}", f"{n}-{i}", None, ["a", 1.0]) for i in range(100)]
        state.shadowing.offer(served.challenger, rows, [row(one.id, CHAMPION) for one in rows])
    assert state.shadowing.inbox.qsize() == WAITING_ROWS // 100
    state.shadowing.start()
    state.shadowing.stop()
    assert place.store.shadows.count(trial.id) == WAITING_ROWS // 100 * 100
    assert Tally.from_json(place.found(trial).measured).dropped == 4000 - WAITING_ROWS // 100 * 100
    state.store.close()


def test_a_shadow_is_asked_nothing_that_was_answered_before_under_other_ids(place: Place) -> None:
    trial = place.trial("shadow")
    place.rounds.attend()
    unnamed = {"rows": [{"size": 10.0, "note": "a"}]}
    with parts.serving(place.home) as service, httpx.Client(base_url=service.url) as client:
        until_tried(client, place, trial)
        ids = set()
        for _ in range(5):
            answer = client.post("/v1/prices/predict", json=unnamed, headers={"idempotency-key": "one"})
            ids.add(answer.json()["predictions"][0]["id"])
        ask(client, ["last"])
    assert len(ids) == 1
    ids.add("last")
    pairs = place.store.predictions.count("prices")
    assert place.store.shadows.count(trial.id) == pairs


def test_a_champion_waits_for_no_other_process_because_one_answers_in_its_shadow(place: Place) -> None:
    trial = place.trial("shadow")
    place.rounds.attend()
    state = State(place.resources.settings)
    state.generations.look()
    served = state.generations.of("prices")
    assert served.challenger is not None
    assert served.challenger.trial == trial.id
    session = TorchSession.__new__(TorchSession)  # it is only asked what it is
    away = replace(served.challenger.served, predictor=replace(served.predictor, session=session), challenger=None)
    for mode, distant in (("shadow", False), ("canary", True)):
        challenger = replace(served.challenger, mode=mode, served=away)  # type: ignore[arg-type]
        assert replace(served, challenger=challenger).distant is distant
    state.store.close()


def test_a_generation_ends_the_trial_beside_the_one_before_and_the_service_lets_go_of_it(place: Place) -> None:
    trial = place.trial("canary", 0.5)
    place.rounds.attend()
    state = State(place.resources.settings)
    state.generations.look()
    assert state.generations.of("prices").challenger is not None
    place.promote(2, CHALLENGER)
    assert place.found(trial).outcome == "superseded"
    state.generations.look()
    served = state.generations.of("prices")
    assert (served.generation, served.challenger) == (2, None)
    place.rounds.attend()
    assert sorted(path.name for path in place.folder.iterdir()) == ["1", "2", "current.json"]
    state.store.close()


def test_whatever_a_canary_answered_before_a_kill_is_in_the_log_with_who_answered(place: Place) -> None:
    trial = place.trial("canary", 0.5)
    place.rounds.attend()
    port, ended = parts.free_port(), threading.Event()
    journal: dict[str, tuple[float, int]] = {}

    def send(worker: int) -> None:
        number = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while not ended.is_set():
                number += 1
                try:
                    told = ask(client, [f"{worker}-{number}-{i}" for i in range(worker + 1)])
                except httpx.TransportError:
                    time.sleep(0.02)  # the service is dead; what was not answered is not in the journal
                    continue
                journal.update({one["id"]: (one["value"], one.get("trial", 0)) for one in told["predictions"]})

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(send, worker) for worker in range(3)]
        service = parts.Service(place.home, port)
        service.wait()
        until(lambda: trial.id in {who for _, who in list(journal.values())} and len(journal) > 200, pause=0.01)
        service.kill()
        ended.set()
        for one in workers:
            one.result()
    logged = place.store.predictions.find("prices", journal)
    assert {id_: (one.output["value"], one.trial) for id_, one in logged.items()} == journal
    assert {trial for _, trial in journal.values()} == {0, trial.id}
    for id_, (value, who) in journal.items():
        assert who in (0, trial.id if factor_of(trial, id_) == CHALLENGER else 0)
        assert value == 10 * (CHALLENGER if who else CHAMPION)
