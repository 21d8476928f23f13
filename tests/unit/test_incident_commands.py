import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from store_parts import NOON
from test_alerts import Receiver, running
from typer.testing import CliRunner

from holdfast.cli import app
from monitoring.effects import Effects, NewIncident
from monitoring.records import Message
from monitoring.store import Store, open_store


def run(home: Path, *words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, words), "--home", str(home)])
    return result.exit_code, result.output


def told(home: Path, *words: object) -> Any:
    code, said = run(home, *words, "--json")
    assert code == 0, said
    return json.loads(said)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/holdfast.db")
    yield opened
    opened.close()


@pytest.fixture
def incident(store: Store) -> int:
    facts = {"project": "plums", "kind": "drift", "text": "drift in size"}
    detail = {"what": "drift in size", "how_sure": "2 of 3 windows", "so_what": "who knows", "done": "a retraining"}
    effects = Effects(
        opened=NewIncident("plums", "drift", 1, "drift in size", detail, (), "warning", 0, 1),
        messages=(Message("plums.0.drift.log", "log", "alert", facts, NOON),),
    )
    made = store.record(effects, NOON).incident
    assert made is not None
    return made.id


def test_people_see_what_is_open_and_all_of_one(tmp_path: Path, incident: int) -> None:
    [listed] = told(tmp_path, "incidents", "ls")
    assert (listed["id"], listed["kind"], listed["severity"]) == (incident, "drift", "warning")
    assert told(tmp_path, "incidents") == [listed]
    shown = run(tmp_path, "incidents", "show", incident)[1]
    for words in ("drift in size", "2 of 3 windows", "who knows", "a retraining"):
        assert words in shown
    assert told(tmp_path, "incidents", "show", incident)["id"] == incident
    code, said = run(tmp_path, "incidents", "show", 99)
    assert (code, "there is no incident 99" in said) == (1, True)
    assert told(tmp_path, "incidents", "ls", "another") == []


def test_the_same_word_twice_changes_nothing_and_says_so(tmp_path: Path, store: Store, incident: int) -> None:
    for words in (
        ("acknowledge", incident, "--reason", "I know"),
        ("fault", incident, "--reason", "the scale is broken"),
    ):
        assert "nothing is changed" not in told(tmp_path, *words)["sentence"]
        assert "nothing is changed" in told(tmp_path, *words)["sentence"]
    assert told(tmp_path, "snooze", incident, "--for", "2d")["sentence"]
    now = store.incidents.get(incident)
    assert now is not None
    assert now.blocks  # who declares a fault has not acknowledged it
    assert now.snoozed_until is not None
    assert now.snoozed_until - NOON > timedelta(days=2)
    kinds = [line.kind for line in store.ledger.decisions("plums")][::-1]
    assert kinds == ["acknowledge", "declare-fault", "snooze"]
    assert "declared a fault by" in run(tmp_path, "incidents", "show", incident)[1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("acknowledge", 99), "incident 99 is not open; open incidents: 1"),
        (("snooze", 1, "--for", "soon"), "a span is written as 30m, 12h or 2d"),
        (("snooze", 1, "--for", "31d"), "up to 30 days"),
        (("snooze", 1, "--for", "0m"), "up to 30 days"),
        (("fault", 1, "--reason", " "), "declared with a reason"),
        (("alerts", "retry", "nothing"), "no message 'nothing' is parked"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    tmp_path: Path, incident: int, words: tuple[object, ...], why: str
) -> None:
    assert incident == 1
    code, said = run(tmp_path, *words)
    assert code == 1
    assert why in said


def test_people_see_what_nobody_took_and_have_it_sent_again(tmp_path: Path, store: Store, incident: int) -> None:
    [waiting] = [one for one in told(tmp_path, "alerts", "ls") if one["channel"] == "log"]
    assert (waiting["state"], told(tmp_path, "alerts", "ls", "--parked")) == ("waits", [])
    store.outbox.failed(waiting["id"], "refused", NOON + timedelta(hours=25))
    [parked] = told(tmp_path, "alerts", "ls", "--parked")
    assert (parked["id"], parked["error"], incident) == (waiting["id"], "refused", 1)
    assert told(tmp_path, "alerts", "retry", waiting["id"]) == [waiting["id"]]
    assert told(tmp_path, "alerts", "retry", "--all") == []


def test_a_test_message_goes_to_each_channel_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Receiver()) as receiver:
        monkeypatch.setenv("HOLDFAST_ALERTS_LOOPBACK", "true")
        monkeypatch.setenv("HOLDFAST_WEBHOOK_URL", receiver.url)
        assert [one["took it"] for one in told(tmp_path, "alerts", "test")] == [True, True]
        assert json.loads(receiver.got[0][2])["data"]["kind"] == "test"
        receiver.status = 500
        code, said = run(tmp_path, "alerts", "test", "--json")
    assert code == 1
    assert [one["why"] for one in json.loads(said)] == [None, "webhook: answered 500"]
