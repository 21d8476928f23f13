"""From the first alert to the last word: what people are told of an incident, and how often."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from store_parts import NOON, TTL, generation, project, race, store, window

from data.errors import HoldfastError
from monitoring.effects import Effects, NewDecision, NewIncident, NewIntent, Update
from monitoring.records import Incident, Intent, Message, Verdict
from monitoring.store import Store

__all__ = ["project", "store"]
DAY = timedelta(days=1)
CHANNELS = ("log", "webhook")


def alarm(project: str, kind: Any = "drift", severity: Any = "warning", intent: bool = False) -> Effects:
    links = {"report": "http://h/reports/1.html", "overview": "http://h/"}
    facts = {"project": project, "kind": kind, "text": f"{kind}: as a test says", "links": links}
    return Effects(
        opened=NewIncident(project, kind, 1, "as a test says", {"count": 2}, (), severity, 0, 1),
        messages=tuple(Message(f"{project}.{kind}.0.{one}", one, "alert", facts, NOON) for one in CHANNELS),
        intent=NewIntent(project) if intent else None,
    )


def opened(store: Store, project: str, **more: Any) -> Incident:
    found = store.record(alarm(project, **more), NOON).incident
    assert found is not None
    return found


def line(incident: Incident, kind: str) -> NewDecision:
    return NewDecision(incident.project, kind, f"incident {incident.id}", "why", {"incident": incident.id})


def told(store: Store, project: str, at: datetime = NOON + 30 * DAY) -> list[Message]:
    """What waits to be told to people, oldest first."""
    due = store.outbox.due(at, 10_000)
    return [one for one in due if one.kind == "alert" and one.id.startswith(f"{project}.")]


def heard(store: Store, project: str) -> list[str]:
    due = store.outbox.due(NOON + 30 * DAY, 10_000)
    return [one.payload["event"] for one in due if one.kind == "event" and one.payload["payload"]["project"] == project]


def bad(incident: Incident, index: int, severity: Any = "warning", size: float = 2.0, check: Any = "data") -> Effects:
    return Effects(updated=(Update(incident.id, check, index, 60, f"drift in window {index}", size, severity),))


def test_an_alert_leads_to_its_incident_the_report_and_the_overview(store: Store, project: str) -> None:
    incident = opened(store, project)
    for message in told(store, project):
        links = {"incident": f"http://h/incidents/{incident.id}", "report": "http://h/reports/1.html"}
        assert list(message.payload["links"].items())[:2] == list(links.items())
        assert list(message.payload["links"])[2] == "overview"
        assert message.incident_id == incident.id


def test_each_bad_window_updates_the_incident_and_says_nothing_to_people(store: Store, project: str) -> None:
    incident = opened(store, project)
    for index, size in ((2, 3.0), (3, 9.0), (4, 1.0)):
        verdict = Verdict(window(project, index), "data", "drift", 60, "drift", {})
        for _ in range(2):
            store.record_verdict(verdict, bad(incident, index, size=size), NOON + index * TTL)
    store.record(bad(incident, 4, check="performance"), NOON + 5 * TTL)
    now = store.incidents.get(incident.id)
    assert now is not None
    assert (now.detail["count"], now.first_window, now.last_window) == (5, 0, 4)
    assert now.detail["latest"]["check"] == "performance"
    assert (now.detail["worst"]["data"]["window"], now.detail["worst"]["data"]["size"]) == (3, 9.0)
    assert now.updated_at == NOON + 5 * TTL
    assert len(told(store, project)) == len(CHANNELS)


def test_an_incident_that_becomes_critical_is_told_once_and_never_becomes_less(store: Store, project: str) -> None:
    incident = opened(store, project)
    for index, severity in ((2, "critical"), (3, "info"), (4, "critical")):
        store.record(bad(incident, index, severity), NOON)
    assert store.incidents.get(incident.id).severity == "critical"  # type: ignore[union-attr]
    ids = {one.id for one in told(store, project)}
    assert {f"{project}.incident-{incident.id}.critical.{one}" for one in CHANNELS} <= ids
    assert len(ids) == 2 * len(CHANNELS)
    assert heard(store, project).count("holdfast.incident.updated") == 1


def test_recovery_is_told_once_a_channel_to_those_who_were_told(store: Store, project: str) -> None:
    incident = opened(store, project)
    store.record(bad(incident, 2), NOON)
    race(6, lambda _: store.incidents.close(incident.id, "quiet for 3 windows", NOON + TTL))
    news = [one for one in told(store, project) if ".closed." in one.id]
    assert [one.channel for one in news] == list(CHANNELS)
    assert f"incident {incident.id} recovered after 3 windows: quiet for 3 windows" in news[0].payload["text"]
    assert heard(store, project) == ["holdfast.incident.opened", "holdfast.incident.recovered"]
    silent = store.incidents.open(NewIncident(project, "alias", 1, "nobody was told"), NOON)[0]
    store.incidents.close(silent.id, "mended", NOON)
    assert len(told(store, project)) == 2 * len(CHANNELS)


def end_by_decision(store: Store, project: str, intent: Intent, outcome: str) -> None:
    said = {"kind": "refuse", "subject": "version 7", "reason": "it is worse", "inputs": {}, "now": NOON + TTL}
    store.ledger.decide(project, **said, intent=intent.id, outcome=outcome)  # type: ignore[arg-type]


def end_by_generation(store: Store, project: str, intent: Intent, _outcome: str) -> None:
    store.ledger.append_generation(0, generation(project, "7"), intent=intent.id)


def end_by_question(store: Store, project: str, intent: Intent, _outcome: str) -> None:
    asked = NewDecision(project, "ask", "version 7", "better on new rows, not on known ones")
    store.approvals.ask(asked, version="7", champion=None, now=NOON, expires_at=NOON + DAY, intent=intent.id)


def end_by_deaths(store: Store, project: str, intent: Intent, _outcome: str) -> None:
    for attempt in (1, 2, 3):
        store.intents.restart(intent.id, attempt, NOON + TTL)


def end_by_person(store: Store, project: str, intent: Intent, _outcome: str) -> None:
    incident = store.incidents.get(intent.incident_id or 0)
    assert incident is not None
    store.incidents.declare_fault(incident.id, NOON + TTL, actor="ada", decision=line(incident, "declare-fault"))


ENDS = [
    ("refused", end_by_decision, "it was refused: it is worse"),
    ("kept", end_by_decision, "the champion was kept: it is worse"),
    ("promoted", end_by_generation, "it was promoted: version 7 serves as generation 1: gates passed"),
    ("challenger", end_by_question, "it waits for a person: better on new rows, not on known ones"),
    ("abandoned", end_by_deaths, "it failed: its run died 3 times"),
    ("blocked", end_by_person, "it was stopped: why"),
]


@pytest.mark.parametrize(("outcome", "end", "words"), ENDS, ids=[one[0] for one in ENDS])
def test_a_retraining_that_was_announced_is_followed_up_once_a_channel(
    store: Store, project: str, outcome: str, end: Any, words: str
) -> None:
    applied = store.record(alarm(project, intent=True), NOON)
    assert applied.intent is not None
    end(store, project, applied.intent, outcome)
    with suppress(HoldfastError):
        end(store, project, applied.intent, outcome)
    store.intents.end(applied.intent.id, "kept", NOON + TTL)
    news = [one for one in told(store, project) if one.payload.get("outcome")]
    assert [one.id for one in news] == [f"{project}.intent-{applied.intent.id}.ended.{one}" for one in CHANNELS]
    assert {one.payload["outcome"] for one in news} == {outcome}
    assert words in news[0].payload["text"]
    assert next(iter(news[0].payload["links"])) == "incident"
    offered = f"holdfast accept {applied.intent.incident_id} --reason" in news[0].payload["text"]
    assert offered == (outcome in ("refused", "kept"))
    assert heard(store, project).count("holdfast.retrain.ended") == 1


def test_who_heard_of_the_promotion_hears_no_second_time_that_the_incident_is_over(store: Store, project: str) -> None:
    applied = store.record(alarm(project, intent=True), NOON)
    assert applied.intent is not None
    assert applied.incident is not None
    end_by_generation(store, project, applied.intent, "promoted")
    store.incidents.close(applied.incident.id, "answered by generation 1", NOON + TTL)
    assert [one.id for one in told(store, project) if ".closed." in one.id] == []
    assert "holdfast.incident.recovered" in heard(store, project)


def test_a_retraining_of_which_nobody_was_told_has_no_follow_up(store: Store, project: str) -> None:
    intent, _ = store.intents.open(project, None, NOON)
    end_by_decision(store, project, intent, "kept")
    assert told(store, project) == []


def test_a_snoozed_incident_sends_nothing_until_then_and_loses_nothing(store: Store, project: str) -> None:
    incident = opened(store, project, intent=True)
    until = NOON + 2 * DAY
    for _ in range(2):
        store.incidents.snooze(incident.id, until, NOON + TTL, actor="ada", decision=line(incident, "snooze"))
    store.record(bad(incident, 3, "critical"), NOON + 2 * TTL)
    store.intents.end(store.intents.of(incident.id)[0].id, "kept", NOON + 3 * TTL)
    assert told(store, project, until - TTL) == []
    assert store.incidents.remind(incident.id, DAY, until - TTL) is False
    late = told(store, project, until)
    assert len(late) == 3 * len(CHANNELS)
    store.outbox.failed(late[0].id, "refused", until + TTL)
    assert store.outbox.parked() == []  # its day begins when it wakes
    assert [one.kind for one in store.ledger.decisions(project)].count("snooze") == 1
    store.incidents.snooze(incident.id, NOON + TTL, NOON + TTL, actor="ada", decision=line(incident, "snooze"))
    assert len(told(store, project, NOON + TTL)) == 3 * len(CHANNELS)


def test_what_slept_is_told_again_if_it_had_nothing_to_say_meanwhile(store: Store, project: str) -> None:
    incident = opened(store, project)
    for one in told(store, project):
        store.outbox.delivered(one.id, NOON)
    store.incidents.snooze(incident.id, NOON + DAY, NOON + TTL, actor="ada", decision=line(incident, "snooze"))
    assert [store.incidents.remind(incident.id, DAY, NOON + at) for at in (TTL, DAY, DAY + TTL)] == [False, True, False]
    assert [one.channel for one in told(store, project)] == list(CHANNELS)


def test_a_critical_incident_is_told_once_an_interval_until_a_person_has_seen_it(store: Store, project: str) -> None:
    incident = opened(store, project, kind="fault", severity="critical")
    hours = [timedelta(hours=hour) for hour in range(73)]
    for hour in hours:
        race(2, lambda _, at=hour: store.incidents.remind(incident.id, DAY, NOON + at))  # type: ignore[misc]
    again = [one for one in told(store, project) if ".again-" in one.id]
    assert [one.created_at - NOON for one in again if one.channel == "log"] == [DAY, 2 * DAY, 3 * DAY]
    assert len({one.id for one in again}) == 3 * len(CHANNELS)
    store.incidents.acknowledge(incident.id, NOON + 3 * DAY, actor="ada", decision=line(incident, "acknowledge"))
    assert not store.incidents.remind(incident.id, DAY, NOON + 9 * DAY)
    mild = opened(store, f"{project[:70]}-mild")
    assert not store.incidents.remind(mild.id, DAY, NOON + 9 * DAY)


def test_a_declared_fault_blocks_stops_its_retraining_and_takes_its_lease(store: Store, project: str) -> None:
    applied = store.record(alarm(project, intent=True), NOON)
    incident, intent = applied.incident, applied.intent
    assert incident is not None
    assert intent is not None
    token = store.leases.acquire(project, "run 1", TTL, NOON)
    assert store.intents.claim(intent.id, 1, "run 1", NOON)
    store.incidents.acknowledge(incident.id, NOON, actor="ada", decision=line(incident, "acknowledge"))
    won = race(
        4,
        lambda number: store.incidents.declare_fault(
            incident.id, NOON, actor=f"person {number}", decision=line(incident, "declare-fault")
        ),
    )
    assert sorted(map(str, won)) == ["False"] * 3 + ["True"]
    now = store.incidents.get(incident.id)
    assert now is not None
    assert now.blocks
    assert now.spoils(window(project, 0))
    assert now.spoils(window(project, 9))  # open: every later window too
    assert not now.spoils(window(project, 9, generation=2))
    assert not replace(now, closed_at=NOON).spoils(window(project, 9))
    assert store.intents.get(intent.id).outcome == "blocked"  # type: ignore[union-attr]
    with pytest.raises(Exception, match="nobody holds it now"):
        store.leases.check(project, token)
    store.incidents.acknowledge(incident.id, NOON, actor="ada", decision=line(incident, "acknowledge"))
    assert not store.incidents.get(incident.id).blocks  # type: ignore[union-attr]


def test_every_step_is_an_event_with_its_ids(store: Store, project: str) -> None:
    incident = opened(store, project, intent=True)
    intent = store.intents.of(incident.id)[0]
    store.intents.claim(intent.id, 1, "run 1", NOON)
    store.incidents.acknowledge(incident.id, NOON, actor="ada", decision=line(incident, "acknowledge"))
    end_by_generation(store, project, intent, "")
    promoted = NewDecision(project, "promote", "version 8", "better", {"version": "8", "generation": 2})
    store.ledger.append_generation(1, generation(project, "8"), (promoted,))
    assert sorted(heard(store, project)) == [
        "holdfast.incident.acknowledged",
        "holdfast.incident.opened",
        "holdfast.promoted",
        "holdfast.retrain.ended",
        "holdfast.retrain.started",
    ]
    due = [one for one in store.outbox.due(NOON + DAY, 10_000) if one.kind == "event" and one.id.startswith(project)]
    said = {one.payload["event"]: one.payload["payload"] for one in due}
    assert said["holdfast.retrain.ended"]["outcome"] == "promoted"
    assert said["holdfast.retrain.started"] == {
        "project": project,
        "intent": intent.id,
        "incident": incident.id,
        "attempt": 1,
        "run": "run 1",
    }
    assert (said["holdfast.promoted"]["version"], said["holdfast.promoted"]["generation"]) == ("8", 2)
    assert len({one.id for one in due}) == len(due)
