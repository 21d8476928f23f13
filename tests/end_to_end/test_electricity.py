"""Twenty-four weeks of history, then fourteen weeks of traffic, in the fourth of which Victoria joins the market.

The stretch was chosen for what it holds: three quiet weeks, the drift, and enough after it to learn from. The
market goes on changing with the seasons, so the second generation is not said to stay good, only to be better than
the first on the same rows.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from market import DAY, FIRST, NAME, TRAFFIC, Market, market

from data.schema import Rows, length, take
from data.versions import Snapshot
from monitoring.records import Generation, Verdict
from projects.electricity import HISTORY_WEEKS, WEEK
from tasks.harvesting import harvest
from tasks.ingestion import ingest
from tasks.leases import AlreadyDone, Run, leased
from tasks.promotion import promote
from tasks.role_files import read_role
from tasks.snapshot_rows import gather

VICTORIA = 17_424  # the row from which on three columns move
MOVED = {"vicprice", "vicdemand", "transfer"}
DELAY = np.timedelta64(1, "D")
WEEKS_AFTER = 4  # with the second generation


@dataclass
class Replay:
    """What was there when it was over, and what was seen on the way: the second training's rows and scores."""

    market: Market
    first: Run
    second: Run
    evaluation: dict[str, Any]
    roles: dict[str, Rows]
    learned_at: datetime
    learned: Snapshot

    def verdicts(self, generation: int, check: str) -> list[Verdict]:
        given = [one for one in self.market.verdicts() if one.window.generation == generation and one.check == check]
        return sorted(given, key=lambda one: one.window.index)

    @property
    def generations(self) -> list[Generation]:
        return self.market.resources.store.ledger.generations(NAME)

    def decisions(self, *kinds: str) -> list[str]:
        """The subjects of the ledger's decisions of these kinds, oldest first."""
        found = self.market.resources.store.ledger.decisions(NAME, kinds=kinds)
        return [decision.subject for decision in reversed(found)]


@pytest.fixture(scope="module")
def replay(datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    with market(tmp_path_factory.mktemp("market"), datasets) as played:
        yield play(played)
        played.resources.store.close()


def play(market: Market) -> Replay:
    resources = market.resources
    ingest(resources, NAME)
    first = market.train("a person's run")
    promote(resources, NAME, first.version, actor="a person", reason="the gates passed")
    market.serve(1)
    while not market.events:
        assert market.days < 100, "no retraining was asked for"
        market.send_a_day()
        market.monitor()
    learned_at = market.now
    assert learned_at is not None
    second = market.train("the event's run", market.events[0]["intent"])
    folder = resources.artifacts(NAME)
    roles = {role: read_role(folder, second.project.schema, role) for role in ("train", "judge", "anchor")}
    evaluation = json.loads((folder / "evaluation" / "metrics.json").read_text())
    learned = Snapshot.from_json((folder / "snapshot.json").read_text())
    market.keep()
    promote(resources, NAME, second.version, actor="a person", reason="better on the same rows")
    market.serve(2)
    for _ in range(7 * WEEKS_AFTER + 2):
        market.send_a_day()
        market.monitor()
    return Replay(market, first, second, evaluation, roles, learned_at, learned)


def test_the_stretch_holds_the_drift_in_its_fourth_week_of_traffic() -> None:
    assert (FIRST + HISTORY_WEEKS) * WEEK == TRAFFIC
    assert TRAFFIC + 3 * WEEK < VICTORIA < TRAFFIC + 4 * WEEK


def test_every_row_was_answered_once_by_the_generation_of_its_day(replay: Replay) -> None:
    market = replay.market
    assert len(market.answers) == market.days * DAY
    served = Counter(answer["generation"] for answer in market.answers.values())
    assert served[2] == (7 * WEEKS_AFTER + 2) * DAY
    again = market.day(market.days - 1).drop(columns=["class"]).head(3)
    rows = [{**row, "time": row["time"].isoformat()} for row in again.to_dict("records")]
    answer = market.client.post(f"/v1/{NAME}/predict", json={"rows": rows}).json()
    assert answer["predictions"] == [market.answers[row["key"]]["answer"] for row in rows]


def test_each_window_got_one_verdict_a_check_when_it_was_due(replay: Replay) -> None:
    store, week = replay.market.resources.store, timedelta(days=7)
    keys = Counter((one.window.generation, one.window.index, one.check) for one in replay.market.verdicts())
    assert set(keys.values()) == {1}
    windows = {1: 11, 2: WEEKS_AFTER}  # the eleventh was cut by the swap
    assert set(keys) == {
        (g, i, check) for g, n in windows.items() for i in range(n) for check in ("data", "performance")
    }
    for now, verdict in replay.market.given:
        window, wait = verdict.window, timedelta(days=verdict.check == "performance")
        assert window.end + wait <= now
        assert now < window.end + wait + timedelta(days=1)  # and not late
        first = store.predictions.first_time(NAME, window.generation)
        assert first is not None
        assert window.start == first + window.index * week
    assert [one.rows for one in replay.verdicts(2, "data")] == [WEEK] * WEEKS_AFTER


def test_three_quiet_weeks_then_drift_in_the_columns_that_moved(replay: Replay) -> None:
    given = replay.verdicts(1, "data")[:10]
    assert [one.outcome for one in given] == ["ok"] * 3 + ["drift"] * 7  # the first movement is no fault
    for verdict in given[3:6]:
        drifted = {name for name, column in verdict.detail["columns"].items() if column["drifted"]}
        assert drifted >= MOVED
    assert "0.003467 in 100% to 86% of rows" in given[3].reason  # six days of seven


def test_one_incident_waits_for_labels_and_gets_one_retraining(replay: Replay) -> None:
    store, governor = replay.market.resources.store, replay.second.project.governor
    incidents = [one for one in reversed(store.incidents.recent(NAME, 20)) if one.generation == 1]
    assert [(one.kind, one.closed_why) for one in incidents] == [("drift", "answered by generation 2")]
    subject = f"incident {incidents[0].id}"
    about = [one for one in replay.decisions("alert", "wait", "retrain") if one == subject]
    assert replay.decisions("alert").count(subject) == 1
    assert len(about) == 3
    assert {f"window 1.{index}" for index in range(5, 10)} <= set(replay.decisions("suppress"))
    asked = store.ledger.decisions(NAME, kinds=("retrain",), subject=subject)[0]
    assert asked.inputs["labels"] == governor.minimum_labels + DAY  # a window's labels are judged before they count
    intents = store.intents.all(NAME)
    assert [(one.incident_id, one.state, one.run) for one in intents] == [(incidents[0].id, "ended", "the event's run")]
    about_it = {"project": NAME, "incident": incidents[0].id, "intent": intents[0].id, "token": intents[0].token}
    assert replay.market.events == [{"event": "holdfast.retrain.requested", **about_it}]


def test_an_event_that_comes_twice_starts_no_second_training(replay: Replay) -> None:
    intent = replay.market.events[0]["intent"]
    with pytest.raises(AlreadyDone), leased(replay.market.resources, NAME, holder="late", intent=intent):
        raise AssertionError("a second training of one intent")


def test_a_candidate_that_passed_waited_for_a_person_and_then_served(replay: Replay) -> None:
    store = replay.market.resources.store
    for run in (replay.first, replay.second):
        assert run.judgement is not None
        assert (run.judgement.verdict, run.outcome) == ("passed", "challenger"), run.judgement.sentence
    assert [one.outcome for one in store.intents.all(NAME)] == ["challenger"]
    assert {f"version {run.version}" for run in (replay.first, replay.second)} == set(replay.decisions("ask"))
    assert [(one.version, one.actor) for one in replay.generations] == [
        (replay.first.version, "a person"),
        (replay.second.version, "a person"),
    ]
    assert replay.market.resources.models.alias(NAME, "champion") == replay.second.version


def test_harvested_rows_are_the_traffic_with_the_labels_that_had_arrived(replay: Replay) -> None:
    harvested = [file for file in replay.learned.files if file.name.startswith("traffic-")]
    assert [file.rows for file in harvested] == [10 * WEEK]
    traffic = traffic_in(replay, replay.learned)
    assert_as_sent(replay, traffic, range(10 * WEEK))
    assert traffic["time"].max() + DELAY <= np.datetime64(replay.learned_at.replace(tzinfo=None))


def test_no_row_judges_what_learned_from_it_or_from_a_label_of_its_day(replay: Replay) -> None:
    train, judge = replay.roles["train"]["time"], replay.roles["judge"]["time"]
    assert train.max() + DELAY <= judge.min()
    cuts = [one.cut for one in replay.generations]
    assert cuts[0] is not None
    assert cuts[1] == datetime.fromtimestamp(train.max().astype("datetime64[s]").astype(int), UTC)
    assert np.datetime64(cuts[0].replace(tzinfo=None)) < judge.min()  # the champion learned from none of them either
    assert not set(replay.roles["anchor"]["key"]) & set(replay.roles["train"]["key"])


def test_the_rule_to_beat_knows_only_labels_that_had_arrived(replay: Replay) -> None:
    labels = replay.market.stream["class"].to_numpy()
    rows = replay.roles["judge"]["key"].astype(int)
    yesterday = float(np.mean(labels[rows] == labels[rows - DAY]))  # the newest label a day old is yesterday's
    at_once = float(np.mean(labels[rows] == labels[rows - 1]))
    assert replay.evaluation["baseline"] == pytest.approx(yesterday, abs=DAY / length(replay.roles["judge"]))
    assert replay.evaluation["judge"]["accuracy"]["value"] > yesterday + 0.03
    assert at_once > yesterday + 0.1  # what a rule would score that saw labels on the spot


def test_rows_are_harvested_as_they_were_answered_whatever_the_project_file_says_now(replay: Replay) -> None:
    resources = replay.market.resources
    with resources.project_file(NAME).open("a") as file:
        file.write(OTHER_ORDER)
    harvest(resources, NAME)
    traffic = traffic_in(replay, resources.batches.snapshot(NAME))
    assert_as_sent(replay, traffic, range(length(traffic)))
    assert length(traffic) == (replay.market.days - 2) * DAY  # of both generations; two days have no window yet


OTHER_ORDER = """
from dataclasses import replace
columns = dict(reversed(project.schema.columns.items()))
project = replace(project, schema=replace(project.schema, columns=columns))
"""


def traffic_in(replay: Replay, snapshot: Snapshot) -> Rows:
    resources = replay.market.resources
    schema = resources.project(NAME).schema
    rows = gather(resources.batches, snapshot, schema, resources.settings.home / "again").all()
    return take(rows, np.char.startswith(rows["_batch"].astype(str), "traffic-"))


def assert_as_sent(replay: Replay, traffic: Rows, positions: range) -> None:
    sent = replay.market.stream.iloc[TRAFFIC + positions.start : TRAFFIC + positions.stop]
    for name in (*replay.second.project.schema.columns, "key"):
        assert traffic[name].tolist() == sent[name].tolist(), name


def test_doing_it_again_changes_nothing(replay: Replay) -> None:
    resources = replay.market.resources
    harvest(resources, NAME)
    before = state(replay)
    assert "no labelled traffic" in harvest(resources, NAME).sentence
    assert "no window is due" in replay.market.monitor().sentence
    assert state(replay) == before


def state(replay: Replay) -> tuple[object, ...]:
    resources = replay.market.resources
    store = resources.store
    counts = store.predictions.count(NAME), store.labels.count(NAME), store.labels.count_unharvested(NAME)
    decisions = len(store.ledger.decisions(NAME))
    return counts, decisions, len(replay.market.verdicts()), resources.batches.snapshot(NAME).revision
