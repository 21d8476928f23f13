"""The gates that hold what was known: against the champion, against every champion so far, and slice by slice.

Each asks that the lower bound of the paired difference be above minus what may be lost. Where the rows are too
few or too noisy to tell, that is said and is not the candidate's fault (docs/decisions/0006-judging.md).
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from data.errors import TooFewRows
from models.comparison import Comparison, Sample, against, amount, gain, number, shown
from models.declarations import Gates
from models.gates import MINIMUM_BLOCKS, GateResult, result_of
from models.metrics import BOUNDED, bounds
from models.resampling import TAIL, Interval


def not_worse(margin: float, comparison: Comparison, anchor: Sample) -> GateResult:
    """Ask that the lower bound of the difference to the champion on the anchor be above minus the margin."""
    assert anchor.champion is not None
    found = gain(comparison.metric, anchor, anchor.champion)
    return held("not_worse", found, margin, comparison, anchor, against(comparison))


def best_so_far(most: float, comparison: Comparison, common: Sample) -> GateResult:
    """Ask the same against each champion so far, on one set of rows that none of them learned from.

    The claim is about all of them, so each is held to the whole 5 % and the hardest to match decides: an
    intersection-union test (Berger 1982, Multiparameter Hypothesis Testing and Acceptance Sampling).
    """
    found = {version: gain(comparison.metric, common, parts) for version, parts in common.others.items()}
    hardest = min(found, key=lambda version: found[version].low if found[version].finite else -math.inf)
    whom = f"v{hardest}, of {len(found)} champions so far the hardest to match"
    result = held("best_so_far", found[hardest], most, comparison, common, whom)
    if not comparison.gone:
        return result
    gone = "; ".join(f"v{version} can't be asked ({why})" for version, why in list(comparison.gone.items())[:3])
    more = f"; nor can {len(comparison.gone) - 3} more" if len(comparison.gone) > 3 else ""
    return dataclasses.replace(result, sentence=f"{result.sentence}; {gone}{more}")


def held(name: str, found: Interval, margin: float, comparison: Comparison, rows: Sample, whom: str) -> GateResult:
    """Hold a difference against the loss that is tolerated, and say what more rows could show."""
    few = found.finite and found.blocks < MINIMUM_BLOCKS
    passed = bool(found.low >= -margin) and not few
    width = found.estimate - found.low
    blind = not passed and (few or (width > margin and found.high >= 0))
    said = f"{name}: {shown(found, comparison.metric, 'anchor', rows.unit)} against {whom}"
    said += f", {amount(margin, comparison.metric)} tolerated"
    if blind:
        enough = math.ceil(found.blocks * (width / margin) ** 2) if margin > 0 else found.blocks
        said += f"; about {max(MINIMUM_BLOCKS, enough):,} {rows.unit} could show whether that much is lost"
    return result_of(name, found, -margin, said, passed=passed, insufficient=blind)


def slices(gates: Gates, comparison: Comparison) -> Iterator[GateResult]:
    """Hold each slice against the champion; without one, show how good the candidate is there.

    Those with enough rows share the 5 % (Bonferroni): unlike Holm's steps it gives each an interval to show, and all
    that is said of them is right together 19 times in 20.
    """
    sharing = sum(rows.rows >= gates.slice_rows for rows in comparison.slices.values())
    for name, rows in comparison.slices.items():
        if rows.champion is None:
            yield alone(f"slice:{name}", comparison.metric, rows)
        else:
            yield slice_held(f"slice:{name}", gates, comparison, rows, sharing)


def slice_held(name: str, gates: Gates, comparison: Comparison, rows: Sample, sharing: int) -> GateResult:
    """Fail a slice that is shown to have lost, pass one shown to hold, and show any other: its rows can't tell.

    `sharing`: how many slices share the 5 %. Answers that are no numbers fail; a metric that is not defined on
    right ones (r2 where every truth is the same) only can't tell.
    """
    assert rows.champion is not None
    found = gain(comparison.metric, rows, rows.champion, TAIL / max(sharing, 1))
    margin = gates.lost_in_slice
    few = found.finite and (found.rows < gates.slice_rows or found.blocks < MINIMUM_BLOCKS)
    passed = bool(found.low >= -margin) and not few
    undefined = not found.finite and bool(np.isfinite(rows.candidate).all() and np.isfinite(rows.champion).all())
    blind = not passed and (few or undefined or found.high >= 0)
    said = f"{name}: {shown(found, comparison.metric, 'unseen', rows.unit)} against {against(comparison)}"
    said += f" where {rows.about}" if rows.about else ""
    said += f", {amount(margin, comparison.metric)} tolerated"
    if sharing > 1:
        said += f"; bounds wider than 95 %, so that all {sharing} slices' hold at once"
    if undefined:
        said += f"; insufficient: {comparison.metric} is not defined on these rows"
    elif few:
        said += f"; insufficient: at least {gates.slice_rows:,} rows in {MINIMUM_BLOCKS} {rows.unit} are asked"
    elif blind:
        said += "; insufficient to tell"
    result = result_of(name, found, -margin, said, passed=passed, insufficient=blind)
    return dataclasses.replace(result, shown=blind)


def alone(name: str, metric: str, rows: Sample) -> GateResult:
    """Show the candidate's metric on a slice."""
    found = bounds(metric, rows.candidate, rows.blocks)
    said = f"{name}: {metric} {number(found.estimate)} [{number(found.low)}, {number(found.high)}] "
    said += f"on {found.rows:,} unseen rows" + (f" where {rows.about}" if rows.about else "")
    return dataclasses.replace(result_of(name, found, 0.0, said, passed=False, insufficient=False), shown=True)


def anchor_rows_needed(gates: Gates, metric: str) -> int:
    """Count the anchor rows without which no candidate, were it equal to the champion, could show the margin.

    With no disagreement in n rows, a share of up to 1 - 0.05^(1/n) may still disagree (Clopper and Pearson).
    """
    if metric not in BOUNDED or not 0 < gates.margin < 1:
        return gates.anchor_rows
    return max(gates.anchor_rows, math.ceil(math.log(TAIL) / math.log1p(-gates.margin)))


def check_anchor_size(gates: Gates, metric: str, rows: int) -> None:
    """Refuse to judge by an anchor of `rows` rows where that can't show the margin, whatever the candidate.

    A project that asks for 0 rows and has none judges without.

    Raises: TooFewRows.
    """
    needed = anchor_rows_needed(gates, metric)
    if rows < needed and (rows or gates.anchor_rows):
        advice = "bring more rows, or change Evaluation(anchor=…, anchor_days=…) or Gates(margin=…, anchor_rows=…)"
        what = f"anchor rows that the champion knew, to show that no more than {amount(gates.margin, metric)} is lost"
        raise TooFewRows(f"{what} ({advice})", rows, needed)
