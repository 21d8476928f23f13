"""What one check says of one window. In order of precedence: failed, fault, insufficient, degraded, drift, ok."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.schema import Column, Number, Rows, length
from data.wording import significant
from monitoring.answers import Answers
from monitoring.binning import Binning
from monitoring.budget import Rule, incidents_in_words, rule_of
from monitoring.calibration import Calibration, calibration_for, in_time
from monitoring.columns import read, rows_in
from monitoring.concentration import Concentration, concentrated, told
from monitoring.concept import Rise, delta_for, rise
from monitoring.declarations import Monitors
from monitoring.faults import faults, tallies
from monitoring.label_flow import all_alike, rate_jump
from monitoring.performance import Degradation, against_held_out, against_past, losses_in, together
from monitoring.records import Check, Outcome, Verdict, WindowKey
from monitoring.reference import Reference, build, moments
from monitoring.statistics import SMALL, components, effect, score
from monitoring.triage import first, triage
from monitoring.wording import several

ROUNDING = 1e-12  # of the mean: less spread is the rounding of a constant, and no unit to measure in


def judge_data(reference: Reference, observed: Rows, monitors: Monitors, window: WindowKey) -> Verdict:
    """Compare a window's rows, as `Predictor.observe` gives them, with the reference, column by column.

    The threshold is the one for this window's own size. A column that can't be compared is a fault of its own
    and hides no other.
    """
    rows = rows_in(observed)
    watched = [name for name in reference.watched if name not in monitors.ignore]
    if not rows:
        return Verdict(window, "data", "insufficient", 0, "insufficient: the window has no rows")
    if not watched:
        return failed(window, "data", rows, f"the reference holds no column that can be compared: {reference.broken}")
    seen, broken = read(reference.columns, observed, rows)
    counts, unfit = tallies(reference, seen)
    wrong = {name: f"can't be compared: {why}" for name, why in {**broken, **unfit}.items()}
    wrong |= faults(reference, seen, counts, monitors.minimum_rows)
    wrong = {name: why for name, why in wrong.items() if name in watched}
    if rows < monitors.minimum_rows and not wrong:
        why = f"insufficient: {rows} rows, {monitors.minimum_rows} are needed"
        return Verdict(window, "data", "insufficient", rows, why)
    calibration = calibration_for(reference, rows, monitors, window.start)
    columns = {
        name: measure(reference, calibration, name, seen[name], now) for name, now in counts.items() if name in watched
    }
    ordered = triage(reference, columns, calibration.threshold)
    outcome, reason = _data_outcome(reference, calibration, columns, wrong, ordered)
    detail = _data_detail(reference, calibration, columns, wrong) | {"triage": ordered}
    return Verdict(window, "data", outcome, rows, reason, detail)


def _data_outcome(
    reference: Reference,
    calibration: Calibration,
    columns: Mapping[str, Mapping[str, Any]],
    wrong: Mapping[str, str],
    ordered: list[dict[str, Any]],
) -> tuple[Outcome, str]:
    drifted = [str(line["column"]) for line in ordered]
    if not columns:
        return "failed", f"failed: no column can be compared: {several([f'{n} {w}' for n, w in wrong.items()])}"
    if wrong:
        return "fault", f"fault: {several([f'{name} {why}' for name, why in wrong.items()])}"
    if not calibration.supported:
        return "insufficient", (
            f"insufficient: the history is shorter than two windows of {calibration.rows} rows, so no rate of false "
            "alarms can be held"
        )
    if drifted:
        moved = several([f"{name} {columns[name]['moved']}" for name in drifted]) + first(ordered)
        return "drift", f"drift in {len(drifted)} of {len(columns)} columns: {moved}; at {calibration.budget.sentence}"
    return "ok", f"ok: {could_see(reference, calibration, list(columns))}"


def measure(
    reference: Reference, calibration: Calibration, name: str, values: np.ndarray, now: np.ndarray
) -> dict[str, Any]:
    """Return what the verdict says of one column, whose binned counts are `now`; JSON values."""
    binning, before = reference.binnings[name], calibration.known[name]
    found = float(score(components(before, now, binning.ordered), calibration.nulls[name]))
    size = float(effect(before, now, binning.ordered))
    seen = calibration.detectable[name]
    return {
        "score": round(found, 3),
        "effect": round(size, 4),
        "drifted": calibration.drifted(name, found, size),
        "moved": _changed_bin(binning, before, now) if calibration.period else moved(reference, name, values, now),
        "detectable": {"unit": seen.unit, "size": seen.size},
    }


def moved(reference: Reference, name: str, values: np.ndarray, now: np.ndarray) -> str:
    """Return how a column changed, in words: its mean in standard deviations, or its most changed bin."""
    before, spread = reference.moments.get(name, (float("nan"), 0.0))
    if isinstance(reference.columns[name], Number) and spread > ROUNDING * abs(before):
        mean, _ = moments(values)
        shift = (mean - before) / spread
        if abs(shift) >= 2 * SMALL and np.isfinite(shift):
            return f"{shift:+.1f} sigma ({significant(before, 3)} to {significant(mean, 3)})"
    return _changed_bin(reference.binnings[name], reference.counts[name], now)


def _changed_bin(binning: Binning, before: np.ndarray, now: np.ndarray) -> str:
    was, is_ = before / before.sum(), now / max(now.sum(), 1)
    most = int(np.argmax(np.abs(is_ - was)))
    return f"{binning.names[most]} in {was[most]:.0%} to {is_[most]:.0%} of rows"


def could_see(reference: Reference, calibration: Calibration, columns: list[str]) -> str:
    """Say what an unchanged verdict would have seen, and what it is blind to."""
    seen, rule = {name: calibration.detectable[name] for name in columns}, calibration.budget.rule
    parts = []
    for unit, words in (
        ("sigma", "{:g} sigma in any number"),
        ("share", "{:.0%} of rows moved in any category"),
    ):
        sizes = [found.size for found in seen.values() if found.unit == unit and found.size is not None]
        if sizes:
            parts.append(words.format(max(sizes)))
    blind = [name for name, found in seen.items() if found.size is None] + list(reference.broken)
    sight = f"would have seen {' and '.join(parts)}" if parts else "would have seen nothing"
    return f"{sight} within {rule.within}, at {calibration.budget.sentence}; blind: {several(blind) or 'none'}"


def _data_detail(
    reference: Reference, calibration: Calibration, columns: Mapping[str, Mapping[str, Any]], wrong: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "columns": dict(columns),
        "faults": dict(wrong),
        "unreferenced": dict(reference.broken),
        "threshold": round(calibration.threshold, 4),
        "budget": calibration.budget.to_json(),
        "blocks": calibration.blocks,
        "calibrated_rows": calibration.rows,
        "reference_rows": reference.rows,
        "could_see": could_see(reference, calibration, list(columns)),
    }


@dataclass(frozen=True)
class Around:
    """What stands around a window whose performance is judged.

    `earlier`: (rows, labelled) of the mature windows before it; `slices`: category column -> values of the window's
    rows, in the order of its answers; `losses`: of the generation's labelled rows before it, oldest first.
    """

    earlier: Sequence[tuple[int, int]] = ()
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))


def judge_performance(
    reference: Reference,
    answers: Answers,
    monitors: Monitors,
    window: WindowKey,
    data: Verdict | None = None,
    around: Around = Around(),
) -> Verdict:
    """Compare how wrong a window's labelled answers are with how wrong the champion was on held-out rows.

    `answers`: all of the window, labelled or not; `data`: the window's verdict of the other check, whose
    fault is this one's too. Labels that can't be believed, and errors in one slice only, are faults of their own.
    """
    rows = len(answers)
    if data is not None and data.outcome == "fault":
        return Verdict(window, "performance", "fault", rows, data.reason, {"faults": data.detail.get("faults", {})})
    labelled = answers.labelled
    detail: dict[str, Any] = {"rows": rows, "labelled": len(labelled)}
    if wrong := _label_fault(reference, rows, labelled, monitors, around):
        return _at_fault(window, rows, {"labels": wrong}, detail)
    for what, count_, least in (
        ("labelled rows", len(labelled), monitors.minimum_rows),
        ("held-out rows", len(reference.losses), monitors.minimum_rows),
    ):
        if count_ < least:
            why = f"insufficient: {count_} {what}, {least} are needed"
            return Verdict(window, "performance", "insufficient", rows, why, detail)
    return _compared(reference, answers, monitors, window, around, detail)


def _compared(
    reference: Reference,
    answers: Answers,
    monitors: Monitors,
    window: WindowKey,
    around: Around,
    detail: dict[str, Any],
) -> Verdict:
    """Return the verdict of a window that has enough labels to be believed."""
    rows, labelled = len(answers), answers.labelled
    rule = rule_of(monitors, reference.rows_a_quarter)
    losses = losses_in(labelled, reference.task)
    seasons = in_time(reference, rows) or together(reference.losses, len(losses))
    found = (against_past if seasons else against_held_out)(reference, losses, rule)
    if found is None:
        why = f"insufficient: the held-out history is shorter than three windows of {len(labelled)} rows"
        return Verdict(window, "performance", "insufficient", rows, why, detail)
    metric, now, before, visible = _words(reference.task, found)
    detail |= {"metric": metric, "loss": found.loss, "held_out": found.held_out, "p": found.p, "alpha": found.alpha}
    detail |= {"detectable": found.detectable, "basis": found.basis}
    compared = f"{metric} {now} on {len(labelled)} labelled rows, {before} held out"
    if found.degraded and (slice_ := _one_slice(reference, answers.known, losses, around)):
        return _at_fault(window, rows, {slice_.column: told(slice_)}, detail)
    rising = None if seasons else _rising(reference, losses, rule, around)
    if rising:
        detail["concept"] = {"since": rising.since, "detector": rising.detector}
    if rising and not found.degraded:
        why = f"degraded: errors have risen for {rising.since} labelled rows, {rising.before:.3g} to {rising.after:.3g}"
        return Verdict(window, "performance", "degraded", rows, f"{why} ({rising.detector}); {compared}", detail)
    if found.degraded:
        return Verdict(window, "performance", "degraded", rows, f"degraded: {compared} (p = {found.p:.1g})", detail)
    blind = reference.task == "classification" and found.held_out + found.detectable > 1
    sight = "would have seen no loss" if blind else f"would have seen a loss of {visible} within {rule.within}"
    reason = f"ok: {compared}; {sight}, at {incidents_in_words(rule.asked)} a quarter over all checks"
    return Verdict(window, "performance", "ok", rows, reason, detail)


def _label_fault(reference: Reference, rows: int, labelled: Answers, monitors: Monitors, around: Around) -> str | None:
    """Return what is wrong with the labels themselves; how many come shows only from `minimum_rows` on."""
    jump = rate_jump(around.earlier, rows, len(labelled)) if rows >= monitors.minimum_rows else None
    if jump or not len(labelled) or labelled.labels is None or reference.task != "classification":
        return jump
    return all_alike(reference, labelled.predicted.tolist(), labelled.labels.tolist())


def _one_slice(reference: Reference, known: np.ndarray, losses: np.ndarray, around: Around) -> Concentration | None:
    return concentrated(reference, losses, {name: values[known] for name, values in around.slices.items()})


def _rising(reference: Reference, losses: np.ndarray, rule: Rule, around: Around) -> Rise | None:
    """Return a rise over the generation's life; not for losses in time, which rise and fall by themselves."""
    return rise(reference.losses, np.concatenate([around.losses, losses]), delta_for(rule, len(losses)))


def _at_fault(window: WindowKey, rows: int, wrong: Mapping[str, str], detail: Mapping[str, Any]) -> Verdict:
    """Return the verdict of labels, or of one source of them, that can't be believed."""
    said = several([f"{name} {why}" for name, why in wrong.items()])
    return Verdict(
        window, "performance", "fault", rows, f"fault: {said}", {**detail, "faults": dict(wrong), "own": True}
    )


def _words(task: str, found: Degradation) -> tuple[str, str, str, str]:
    """Return the metric's name, its value now and before, and the smallest change that shows, for people."""
    if task == "classification":
        shown = f"{found.detectable:.1%}".replace("%", " points")
        return "accuracy", f"{1 - found.loss:.1%}", f"{1 - found.held_out:.1%}", shown
    return "mean absolute error", significant(found.loss), significant(found.held_out), significant(found.detectable, 3)


def failed(window: WindowKey, check: Check, rows: int, why: str) -> Verdict:
    """Return the verdict of a check that could not be made; the window is judged all the same."""
    return Verdict(window, check, "failed", rows, f"failed: {why}")


def smoke(known: Rows, current: Rows, columns: Mapping[str, Column], monitors: Monitors) -> str:
    """Compare some rows with others as a monitor would, and return its sentence: a dry run.

    Raises: TooFewRows.
    """
    from datetime import UTC, datetime

    rows = length(known)
    reference = build(
        columns,
        known,
        held_out=np.ones(rows, bool),
        losses=np.zeros(rows),
        task="classification",
        exchangeable=True,
        ignore=monitors.ignore,
    )
    now = datetime.now(UTC)
    return judge_data(reference, current, monitors, WindowKey("check", 0, 0, now, now)).reason
