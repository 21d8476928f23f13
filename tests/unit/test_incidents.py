from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.declarations import Governor, Monitors
from monitoring.effects import NOTHING, Effects
from monitoring.evidence import Setting
from monitoring.governor import Circumstances, decide
from monitoring.incidents import effects, harmless_rate, reconsidered
from monitoring.records import Decision, Incident, Outcome, Severity, Verdict, WindowKey
from monitoring.severity import severity

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
READY = Circumstances(now=NOW, labels=300)


def verdict(outcome: Outcome, index: int, check: Any = "data", generation: int = 1) -> Verdict:
    window = WindowKey("digits", generation, index, NOW, NOW + timedelta(minutes=1), index * 200, index * 200 + 200)
    detail = {"faults": {"image.contrast": "is constant (0)"}} if outcome == "fault" else {}
    return Verdict(window, check, outcome, 200, f"{outcome}: why", detail)


def setting(recent: list[Verdict] | None = None, incidents: list[Incident] | None = None, **more: Any) -> Setting:
    plain = Setting(Monitors(k=2, n=3), Governor(), READY, recent or [], incidents or [], ("log", "webhook"), NOW)
    return replace(plain, **more)


def incident(kind: Any, generation: int = 1) -> Incident:
    return Incident(7, "digits", kind, generation, NOW, "why", {})


def test_a_fault_opens_an_incident_at_once_and_says_what_to_mend() -> None:
    found = effects(verdict("fault", 3), setting())
    assert found.opened is not None
    assert found.opened.kind == "fault"
    assert found.intent is None
    assert [message.channel for message in found.messages] == ["log", "webhook"]
    text = found.messages[0].payload["text"]
    assert text.startswith("FAULT digits: image.contrast is constant (0) since window 3 (200 rows): mend the sensor")
    assert "retraining is blocked until" in text


def test_who_may_accept_that_columns_are_missing_is_told_of_how_many_and_of_what_drifted_beside_them() -> None:
    missing = dict.fromkeys(("slope", "vessels", "thal", "oldpeak", "pulse"), "is null in every row")
    triage = [{"column": name} for name in ("slope", "age", "prediction")]
    found = effects(replace(verdict("fault", 3), detail={"faults": missing, "triage": triage}), setting())
    text = found.messages[0].payload["text"]
    assert "thal is null in every row and 2 more since window 3" in text
    assert "accept that from now on so much is not measured and that age, prediction drifted (holdfast accept)" in text
    assert found.opened is not None
    assert "age, prediction drifted" in found.opened.detail["so_what"]


def test_a_second_fault_window_opens_nothing_and_a_healthy_one_closes_it() -> None:
    again = effects(verdict("fault", 4), setting(incidents=[incident("fault")]))
    assert (again.opened, again.messages) == (None, ())
    assert [decision.kind for decision in again.decisions] == ["suppress"]
    for outcome in ("ok", "drift"):
        found = effects(verdict(outcome, 5), setting(incidents=[incident("fault")]))
        assert [number for number, _ in found.closed] == [7]
    assert effects(verdict("insufficient", 5), setting(incidents=[incident("fault")])).closed == ()


def test_another_column_at_fault_is_told_although_a_person_knows_of_the_first() -> None:
    known = replace(incident("fault"), detail={"columns": ["humidity"]}, acknowledged_at=NOW)
    found = effects(verdict("fault", 4), setting(incidents=[known]))
    assert found.closed == ((7, "more is at fault now: image.contrast"),)
    assert found.opened is not None
    assert found.opened.detail["columns"] == ["image.contrast"]
    assert [message.channel for message in found.messages] == ["log", "webhook"]
    same = replace(known, detail={"columns": ["image.contrast", "humidity"]})
    assert effects(verdict("fault", 4), setting(incidents=[same])).opened is None


def test_labels_at_fault_and_a_broken_sensor_neither_hide_nor_end_each_other() -> None:
    sensor, labels = replace(incident("fault"), id=1), replace(incident("labels"), id=2)
    late = replace(verdict("fault", 3, "performance"), detail={"faults": {"labels": "stopped"}, "own": True})
    assert [one.opened.kind for one in [effects(late, setting(incidents=[sensor]))] if one.opened] == ["labels"]
    healthy = [
        effects(verdict("ok", 5, check), setting(incidents=[sensor, labels])) for check in ("data", "performance")
    ]
    assert [[number for number, _ in found.closed] for found in healthy] == [[1], [2]]


def test_wrong_labels_are_told_although_it_is_known_that_fewer_come() -> None:
    def said(why: str) -> Verdict:
        return replace(verdict("fault", 4, "performance"), detail={"faults": {"labels": why}, "own": True})

    few, alike = "came for 9% of 200 rows, for 90% in the 5 windows before", "all 90 are 'no'"
    known = replace(incident("labels"), detail={"columns": ["labels"], "faults": {"labels": few}}, acknowledged_at=NOW)
    found = effects(said(alike), setting(incidents=[known]))
    assert found.closed == ((7, "more is at fault now: labels"),)
    assert found.opened is not None
    assert not harmless_rate(replace(known, detail=found.opened.detail))
    assert effects(said(few), setting(incidents=[known])).opened is None
    known = replace(known, detail={"columns": ["labels"], "faults": {"labels": alike}})
    assert effects(said(few), setting(incidents=[known])).opened is None


def test_the_fault_of_an_old_window_found_again_by_the_late_check_opens_nothing() -> None:
    assert effects(verdict("fault", 3, "performance"), setting()) == NOTHING


def test_drift_needs_k_of_n_windows_and_asks_the_governor_once() -> None:
    assert effects(verdict("drift", 2), setting()).opened is None
    found = effects(verdict("drift", 2), setting([verdict("drift", 0), verdict("ok", 1)]))
    assert found.opened is not None
    assert found.opened.kind == "drift"
    assert found.intent is not None
    assert found.intent.incident_id is None
    assert [decision.kind for decision in found.decisions] == ["alert", "retrain"]
    assert [message.kind for message in found.messages] == ["alert", "alert", "event"]
    payload = found.messages[0].payload
    assert {"what", "how_sure", "so_what", "done", "links"} <= set(payload)
    assert "a retraining was started" in payload["text"]


def test_windows_that_say_nothing_neither_count_nor_clear() -> None:
    recent = [verdict("drift", 0), verdict("insufficient", 1), verdict("fault", 2), verdict("ok", 3)]
    assert effects(verdict("drift", 4), setting(recent)).opened is not None
    older = [verdict("drift", 0), verdict("ok", 1), verdict("ok", 2)]
    assert effects(verdict("drift", 3), setting(older)).opened is None


def test_both_checks_of_one_window_are_one_bad_window_and_one_incident() -> None:
    one_window = effects(verdict("degraded", 1, "performance"), setting([verdict("drift", 1)]))
    assert one_window.opened is None
    recent = [verdict("drift", 0), verdict("drift", 1)]
    found = effects(verdict("degraded", 1, "performance"), setting(recent))
    assert found.opened is not None
    assert found.opened.kind == "degraded"
    suppressed = effects(verdict("degraded", 1, "performance"), setting(recent, [incident("drift")]))
    assert (suppressed.opened, suppressed.messages, suppressed.intent) == (None, (), None)


def test_an_incident_that_must_wait_says_so_and_promises_nothing() -> None:
    poor = setting([verdict("drift", 0)], circumstances=replace(READY, labels=10))
    found = effects(verdict("drift", 1), poor)
    assert found.intent is None
    assert [decision.kind for decision in found.decisions] == ["alert", "wait"]
    assert "10 of 100" in found.messages[0].payload["done"]


def test_a_swap_or_n_quiet_windows_close_drift() -> None:
    swapped = effects(verdict("ok", 0, generation=2), setting(incidents=[incident("drift")]))
    assert swapped.closed == ((7, "answered by generation 2"),)
    quiet = [verdict("drift", 0), verdict("ok", 1), verdict("ok", 2)]
    assert effects(verdict("ok", 2), setting(quiet, [incident("drift")])).closed == ()
    assert effects(verdict("ok", 3), setting(quiet, [incident("drift")])).closed[0][1].startswith("quiet for 3 windows")


def test_healthy_data_does_not_close_an_incident_of_the_other_check() -> None:
    well = [verdict("ok", index) for index in range(6)]
    assert effects(verdict("ok", 6), setting(well, [incident("degraded")])).closed == ()
    right = [verdict("ok", index, "performance") for index in range(2)]
    assert effects(verdict("ok", 2, "performance"), setting(right, [incident("degraded")])).closed[0][0] == 7


def test_a_replaced_generation_opens_and_closes_nothing() -> None:
    gone = setting([verdict("drift", 0)], [incident("fault")], replaced=True)
    for outcome in ("fault", "drift", "ok"):
        found = effects(verdict(outcome, 1), gone)
        assert (found.opened, found.closed, found.messages, found.intent) == (None, (), (), None)


def test_ids_of_messages_follow_from_the_verdict_alone() -> None:
    first = effects(verdict("fault", 3), setting())
    later = effects(verdict("fault", 3), setting(now=NOW + timedelta(hours=1)))
    assert [message.id for message in first.messages] == [message.id for message in later.messages]
    assert len({message.id for message in first.messages}) == 2


def test_a_new_ruling_is_written_once_and_promises_the_retraining_when_it_may_start() -> None:
    waiting = decide("drift", Governor(), replace(READY, labels=10))
    before = Decision(1, "digits", NOW, "wait", "incident 7", waiting.reason, waiting.inputs)
    assert reconsidered(incident("drift"), waiting, before, setting()) == NOTHING
    found = reconsidered(incident("drift"), decide("drift", Governor(), READY), before, setting())
    assert found.intent is not None
    assert found.intent.incident_id == 7
    assert [message.kind for message in found.messages] == ["event"]
    asked = reconsidered(incident("drift"), decide("drift", Governor(retrain="approve"), READY), before, setting())
    assert [message.channel for message in asked.messages] == ["log", "webhook"]
    assert asked.intent is None


def test_people_are_told_each_time_the_breaker_trips_and_once() -> None:
    def ruled(last: Decision | None, **seen: Any) -> Effects:
        met = setting(circumstances=replace(READY, **seen))
        return reconsidered(incident("drift"), decide("drift", Governor(), met.circumstances), last, met)

    def line(found: Effects) -> Decision:
        [one] = found.decisions
        return Decision(1, "digits", NOW, one.kind, "incident 7", one.reason, one.inputs)

    started = Decision(1, "digits", NOW, "retrain", "incident 7", "nothing stands against it", {})
    first = ruled(started, failures=3, labels=10)
    assert [message.channel for message in first.messages] == ["log", "webhook"]
    text = first.messages[0].payload["text"]
    assert text.startswith("DRIFT digits: retraining is blocked: the last 3 retrainings came to nothing")
    assert "a person must look" in text
    assert "or 200 new labelled rows must come" in text
    assert ruled(line(first), failures=3, labels=60) == NOTHING
    assert ruled(line(first), failures=3, labels=200).intent is not None
    again = ruled(started, failures=4)
    assert {one.id for one in again.messages}.isdisjoint(one.id for one in first.messages)
    fault = ruled(started, open_faults=("size",), failures=3, labels=10)  # whose own alert has been sent
    assert ([one.kind for one in fault.decisions], fault.messages) == (["block"], ())
    assert ruled(line(fault), failures=3, labels=10).messages == first.messages


def test_a_bad_window_of_an_open_incident_updates_it_whether_or_not_k_of_n_are_bad() -> None:
    cases: list[tuple[Outcome, Any]] = [
        ("fault", "fault"),
        ("drift", "drift"),
        ("degraded", "drift"),
        ("failed", "fault"),
    ]
    for outcome, kind in cases:
        found = effects(verdict(outcome, 9), setting(incidents=[incident(kind)]))
        assert [(one.incident_id, one.window) for one in found.updated] == [(7, 9)]
        assert found.messages == ()
    assert effects(verdict("insufficient", 9), setting(incidents=[incident("drift")])).updated == ()


def test_an_alert_leads_to_the_drift_report_where_there_is_one() -> None:
    links = {"overview": "http://h/", "tunnel": "ssh"}
    found = effects(verdict("fault", 3), setting(links=links))
    expected = {"report": "http://h/reports/digits/1/3.html", **links}
    assert list(found.messages[0].payload["links"].items()) == list(expected.items())
    assert effects(verdict("failed", 3), setting(links=links)).messages[0].payload["links"] == links
    assert effects(verdict("fault", 3), setting()).messages[0].payload["links"] == {}


def said(outcome: Outcome, **detail: Any) -> Severity:
    return severity(replace(verdict(outcome, 1), detail=detail))


def test_severity_follows_from_the_kind_and_from_what_is_lost() -> None:
    assert (said("fault"), said("failed"), said("drift"), said("ok")) == ("critical", "critical", "warning", "info")
    accuracy = {"metric": "accuracy", "held_out": 0.1}
    assert said("degraded", loss=0.12, **accuracy) == "warning"
    assert said("degraded", loss=0.16, **accuracy) == "critical"
    error = {"metric": "mean absolute error", "held_out": 10.0}
    assert (said("degraded", loss=12.0, **error), said("degraded", loss=13.0, **error)) == ("warning", "critical")


def test_severity_of_drift_is_what_it_is_estimated_to_cost_beyond_the_estimates_error() -> None:
    def drift(lost: float | None, error: float) -> Severity:
        return said("drift", estimate={"metric": "accuracy", "lost": lost, "past_error": error})

    assert (drift(0.005, 0.002), drift(0.03, 0.01), drift(0.08, 0.01)) == ("info", "warning", "critical")
    assert drift(0.08, 0.08) == "warning"  # no more than the estimate is usually off
    assert drift(-0.2, 0.01) == "info"  # better, as far as one can tell
    assert (drift(None, 0.0), said("drift")) == ("warning", "warning")
