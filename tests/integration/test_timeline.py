import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from loop_parts import WINDOW, Orchard, judgement, plums
from typer.testing import CliRunner

from data.errors import BadDeclaration
from holdfast.cli import app
from monitoring.audit import drawn
from monitoring.declarations import Labels
from monitoring.estimates import BLIND
from monitoring.records import Check, Verdict, WindowKey
from tasks.auditing import representative, to_label, unaudited
from tasks.estimating import past_estimates
from tasks.harvesting import harvest
from tasks.promotion import settle
from tasks.snapshot_rows import BATCH
from tasks.timeline import Point, timeline
from tasks.watching import watch

HOUR = "labels=Labels(delay=timedelta(hours=1))"
CHOSEN = (HOUR, 'labels=Labels(delay=timedelta(hours=1), coverage="selected")')
AUDITED = (HOUR, 'labels=Labels(delay=timedelta(hours=1), coverage="selected", audit_share=0.6)')


def only(orchard: Orchard) -> Point:
    [point] = timeline(orchard, orchard.name)
    return point


def verdict_of(orchard: Orchard, check: str = "performance") -> Any:
    [found] = orchard.verdicts(check)
    return found


def test_a_window_is_partial_until_it_is_mature_and_realised_from_then_on(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    ids = orchard.answer(rows, ago=timedelta(minutes=50))
    watch(orchard, orchard.name)
    point = only(orchard)
    assert (point.rows, point.labelled, point.partial, point.realised) == (WINDOW, 0, None, None)
    orchard.label(ids[:25], rows)
    point = only(orchard)
    assert (point.labelled, point.metric, point.realised, point.outcome_performance) == (25, "accuracy", None, None)
    assert point.partial is not None
    value, low, high = point.partial
    assert 0 <= low <= value <= high <= 1
    assert low < high
    assert orchard.verdicts("performance") == []  # nothing is judged by labels that are still coming
    orchard.ahead = timedelta(minutes=15)
    watch(orchard, orchard.name)
    point = only(orchard)
    assert (point.partial, point.outcome_performance) == (None, "ok")
    assert point.realised == (value, low, high)
    assert (point.late, point.selected) == (0, False)


def test_late_labels_count_on_the_timeline_and_change_no_verdict(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    ids = orchard.answer(rows)
    orchard.label(ids[:25], rows)
    watch(orchard, orchard.name)
    before, said = only(orchard), verdict_of(orchard)
    orchard.ahead = timedelta(days=400)
    turned = {"size": -rows["size"], "sugar": -rows["sugar"]}
    orchard.label(ids[25:], {name: values[25:] for name, values in turned.items()})
    watch(orchard, orchard.name)
    after = only(orchard)
    assert (after.labelled, after.late) == (WINDOW, WINDOW - 25)
    assert before.realised is not None
    assert after.realised is not None
    assert after.realised[0] < before.realised[0]
    assert verdict_of(orchard) == said
    assert after.outcome_performance == said.outcome
    orchard.label(ids[:1], {name: values[:1] for name, values in turned.items()})  # a correction is late as well
    assert only(orchard).late == WINDOW - 24


def test_each_data_verdict_estimates_what_is_not_labelled_yet(orchard: Orchard) -> None:
    orchard.serve()
    orchard.answer(plums(WINDOW))
    watch(orchard, orchard.name)
    first = orchard.verdicts()[0].detail["estimate"]
    assert set(first) >= {"metric", "value", "low", "high", "past_error"}
    assert 0 <= first["low"] <= first["value"] <= first["high"] <= 1
    assert "held-out rows" in first["basis"]
    assert first["sentence"].endswith(BLIND)
    assert json.loads(json.dumps(first)) == first
    point = timeline(orchard, orchard.name)[0]
    assert (point.estimated, point.estimated_error) == (first["value"], first["past_error"])


def test_an_estimate_tells_the_error_of_those_before_it_once_there_are_some(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(9 * WINDOW)
    ids = orchard.answer(rows)
    orchard.label(ids, rows)
    watch(orchard, orchard.name)
    *_, eighth, last = [one.detail["estimate"]["basis"] for one in orchard.verdicts()]
    assert "held-out rows" in eighth
    assert last == "the error of 8 past estimates"


def test_past_estimates_of_windows_of_other_sizes_say_nothing_of_this_one(orchard: Orchard) -> None:
    def window(index: int, check: Check, rows: int) -> Verdict:
        end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=index)
        told = {"realised": {"metric": "accuracy", "estimated": 0.9, "value": rows / 10_000, "selected": False}}
        return Verdict(WindowKey(orchard.name, 1, index, end - timedelta(hours=1), end), check, "ok", rows, "ok", told)

    for index, rows in enumerate([50, 2000, 99, 4001, 101, 999]):
        orchard.store.verdicts.record(window(index, "performance", rows), orchard.now())
    assert past_estimates(orchard, window(6, "data", 50), "accuracy") == [(0.9, 0.005), (0.9, 0.0099)]
    assert past_estimates(orchard, window(6, "data", 2000), "accuracy") == [(0.9, 0.2)]


def test_a_window_in_fault_or_without_rows_has_no_estimate(orchard: Orchard) -> None:
    orchard.serve()
    orchard.answer(plums(WINDOW, constant=True))
    watch(orchard, orchard.name)
    point = only(orchard)
    assert (point.outcome_data, point.estimated, point.partial, point.realised) == ("fault", None, None, None)
    assert "data check is fault" in verdict_of(orchard, "data").detail["estimate"]["sentence"]


def flagged(ids: list[str]) -> list[int]:
    """What a team looks at: here, what nobody would draw."""
    return np.flatnonzero(~drawn(ids, 0.6)).tolist()


def pick(rows: dict[str, np.ndarray], which: list[int]) -> dict[str, np.ndarray]:
    return {name: values[which] for name, values in rows.items()}


def answered(orchard: Orchard) -> tuple[list[str], dict[str, np.ndarray]]:
    orchard.serve()
    rows = plums(2 * WINDOW)
    orchard.declare(("rows=40", "rows=80"))
    return orchard.answer(rows), rows


def test_labels_of_selected_rows_are_marked_and_judge_nothing(orchard: Orchard) -> None:
    orchard.declare(CHOSEN)
    ids, rows = answered(orchard)
    turned = {name: -values for name, values in rows.items()}  # all that was looked at was wrong
    orchard.label(ids[:60], turned)
    watch(orchard, orchard.name)
    found = verdict_of(orchard)
    assert found.outcome == "insufficient"
    assert "labels come for selected rows only" in found.reason
    assert "accuracy" in found.reason
    point = only(orchard)
    assert point.selected
    assert point.realised is not None
    assert orchard.store.incidents.open_ones(orchard.name) == []
    assert "0 audit rows of 60 may judge" in harvest(orchard, orchard.name).sentence


def test_an_audit_sample_alone_is_judged_once_it_is_labelled(orchard: Orchard) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    chosen = flagged(ids)
    turned = {name: -values for name, values in rows.items()}
    orchard.label([ids[n] for n in chosen], pick(turned, chosen))
    point_before = len(to_label(orchard, orchard.name, 1000))
    assert point_before == len(ids) - len(chosen)
    assert "0 of" in unaudited_after_watch(orchard)
    assert verdict_of(orchard).outcome == "insufficient"


def unaudited_after_watch(orchard: Orchard) -> str:
    watch(orchard, orchard.name)
    return unaudited(orchard, orchard.declared)


def test_a_labelled_audit_sample_speaks_for_all_whatever_else_was_labelled(orchard: Orchard) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    chosen = flagged(ids)
    turned = {name: -values for name, values in rows.items()}
    orchard.label([ids[n] for n in chosen], pick(turned, chosen))
    rest = sorted(set(range(len(ids))) - set(chosen))
    orchard.label([ids[n] for n in rest], pick(rows, rest))
    assert unaudited_after_watch(orchard) == ""
    found, point = verdict_of(orchard), only(orchard)
    assert (found.outcome, found.rows, found.detail["labelled"]) == ("ok", len(ids), len(rest))
    assert not point.selected
    assert point.realised is not None
    assert point.realised[0] > 0.8
    assert to_label(orchard, orchard.name, 10) == []


def test_the_audit_sample_is_the_same_however_much_of_the_log_is_looked_at_at_once(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    orchard.label(ids[:5], pick(rows, list(range(5))))
    audited = [id_ for id_, counts in zip(ids, drawn(ids, 0.6), strict=True) if counts and id_ not in ids[:5]]
    for piece in (1, 7, WINDOW, 10 * WINDOW):
        monkeypatch.setattr("tasks.auditing.PIECE", piece)
        assert [one["id"] for one in to_label(orchard, orchard.name, 1000)] == audited
        assert [one["id"] for one in to_label(orchard, orchard.name, 3)] == audited[:3]


def test_the_audit_sample_lists_what_was_asked_and_not_what_was_answered(orchard: Orchard) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    listed = to_label(orchard, orchard.name, 5)
    assert len(listed) == 5
    first = ids.index(listed[0]["id"])
    assert listed[0]["row"]["size"] == pytest.approx(rows["size"][first])
    assert set(listed[0]) == {"id", "time", "row"}
    assert set(listed[0]["row"]) == {"plum", "size", "sugar"}
    assert drawn(ids, 0.6).sum() == len(to_label(orchard, orchard.name, 1000))


def test_audit_rows_of_a_replaced_generation_are_listed_as_long_as_they_say_what_replacing_it_was_worth(
    orchard: Orchard,
) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    orchard.label(ids[:5], pick(rows, list(range(5))))
    orchard.serve("2")
    later = orchard.answer(rows, prefix="s")
    kept = [[one for one in some if drawn([one], 0.6).all()] for some in (ids[5:], later)]
    assert [one["id"] for one in to_label(orchard, orchard.name, 1000)] == [*kept[0], *kept[1]]
    assert [one["id"] for one in to_label(orchard, orchard.name, 3)] == kept[0][:3]
    orchard.ahead += timedelta(days=15)
    assert [one["id"] for one in to_label(orchard, orchard.name, 1000)] == kept[1]


@pytest.mark.parametrize(("change", "outcome"), [(None, "promoted"), (CHOSEN, "challenger"), (AUDITED, "promoted")])
def test_selected_labels_without_an_audit_sample_promote_nothing_without_a_person(
    orchard: Orchard, change: tuple[str, str] | None, outcome: str
) -> None:
    if change:
        orchard.declare(change)
    version = orchard.register("passed")
    token = orchard.store.leases.acquire(orchard.name, "a test", timedelta(hours=1), orchard.now())
    report, found = settle(orchard, orchard.declared, version, judgement("passed"), intent=None, token=token)
    assert found == outcome
    assert ("so a person decides" in report.sentence) == (outcome == "challenger")
    assert len(orchard.store.approvals.open_ones(orchard.name)) == (outcome == "challenger")


def test_of_harvested_rows_only_the_audit_sample_judges_and_what_the_source_brought_stays(orchard: Orchard) -> None:
    ids = [f"r{n}" for n in range(40)]
    batches = ["history"] * 20 + ["traffic-20261121T120000-abc"] * 20
    rows = {"plum": np.array(ids, dtype=object), BATCH: np.array(batches, dtype=object)}
    assert representative(orchard.declared, rows).all()
    orchard.declare(AUDITED)
    assert representative(orchard.declared, rows).tolist() == [True] * 20 + drawn(ids[20:], 0.6).tolist()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Labels(coverage="selcted"), "did you mean 'selected'"),  # type: ignore[arg-type]
        (lambda: Labels(coverage="selected", audit_share=1.5), "0 to 1"),
        (lambda: Labels(coverage="selected", audit_share=float("nan")), "0 to 1"),
        (lambda: Labels(audit_share=0.1), "every label counts"),
        (lambda: Labels(audit_shar=0.1), "did you mean 'audit_share'"),  # type: ignore[call-arg]
        (lambda: Labels(delay=timedelta(-1)), "not negative"),
    ],
)
def test_a_slip_in_what_is_said_of_labels_is_explained(wrong: Callable[[], Labels], said: str) -> None:
    with pytest.raises(BadDeclaration, match=said):
        wrong()


def test_a_larger_audit_share_only_adds_rows() -> None:
    ids = [f"r{n}" for n in range(2000)]
    few, more = drawn(ids, 0.1), drawn(ids, 0.4)
    assert not (few & ~more).any()
    assert 0.07 < few.mean() < 0.13
    assert 0.36 < more.mean() < 0.44
    assert not drawn(ids, 0).any()


def test_people_see_the_timeline_and_what_to_label(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    orchard.declare(AUDITED)
    ids, rows = answered(orchard)
    orchard.label(ids[:30], rows)
    watch(orchard, orchard.name)
    monkeypatch.setenv("HOLDFAST_PROJECTS", orchard.settings.projects)
    home = ["--home", str(orchard.settings.home)]
    shown = CliRunner().invoke(app, ["performance", orchard.name, *home])
    assert shown.exit_code == 0, shown.output
    assert "±" in shown.output
    assert "selected" in shown.output
    assert "can't see concept drift" in shown.output
    [told] = json.loads(CliRunner().invoke(app, ["performance", orchard.name, "--json", *home]).output)
    assert told["selected"]
    listed = CliRunner().invoke(app, ["labels", "audit", orchard.name, "--limit", "2", "--json", *home])
    assert [one["id"] for one in json.loads(listed.output)] == [one["id"] for one in to_label(orchard, orchard.name, 2)]
