"""Whether a batch is fit to learn from, row by row and as a whole: the only importer of Great Expectations."""

import logging
import os
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data.batches import contents, frame_of
from data.descriptors import describe
from data.environment import QUIET
from data.errors import BadDeclaration, nearest
from data.expectations import Expect, guards
from data.markdown import escaped
from data.schema import ArrayColumn, Rows, Schema, Text, length, take

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
per_thread = threading.local()  # contexts shared by threads give wrong results without an error


@dataclass(frozen=True)
class Validation:
    """What validating a batch showed. A refused batch has no good row.

    `good` is a mask (N,) of the rows given; `reasons` names by position the expectations each bad row failed.
    `results` has one dict an expectation: expectation, column, passed, unexpected (rows), share, kwargs,
    observed, error.
    """

    good: np.ndarray
    reasons: dict[int, list[str]]
    results: list[dict[str, Any]]
    refused: str | None


def validate(rows: Rows, schema: Schema, expectations: tuple[Expect, ...], max_bad: float = 0.5) -> Validation:
    """Check `rows` against the schema's guards and the project's own expectations.

    A row given twice counts once. The batch is refused when an expectation of the whole table fails or can't be
    computed, when no row meets one of rows, or when more than a share of `max_bad` of the rows is bad.

    Raises: BadDeclaration for an expectation that Great Expectations can't take.
    """
    wanted = (*guards(schema), *expectations)
    _, first, same = np.unique(np.array(contents(rows, schema), dtype=object), return_index=True, return_inverse=True)
    firsts = np.sort(first)
    checked = check(observed_frame(take(rows, firsts), schema), wanted)
    refused = refusal(checked, len(firsts), max_bad)
    position = np.searchsorted(firsts, first)[same]  # of each row, where its first copy was checked
    found = reasons_by_row(checked)
    reasons = {i: found[at] for i, at in enumerate(position.tolist()) if at in found}
    good = np.array([i not in reasons and refused is None for i in range(length(rows))], dtype=bool)
    log.info("%d rows, %d good, %d expectations%s", len(good), good.sum(), len(wanted), f"; {refused}" * bool(refused))
    return Validation(good, reasons, [row for row, _ in checked], refused)


def observed_frame(rows: Rows, schema: Schema) -> "pd.DataFrame":
    """Return what expectations speak of: identifiers and columns, the kinds that have descriptors by these.

    A text stands there too, so that expectations can look at its words.
    """
    import pandas as pd

    arrays = {name: column for name, column in schema.columns.items() if isinstance(column, ArrayColumn)}
    texts = {name: column for name, column in schema.columns.items() if isinstance(column, Text)}
    plain = frame_of({name: values for name, values in rows.items() if name not in arrays}, schema)
    described = describe({**arrays, **texts}, rows)
    return pd.concat([plain, pd.DataFrame(described, index=plain.index)], axis=1)


def check(frame: "pd.DataFrame", wanted: tuple[Expect, ...]) -> list[tuple[dict[str, Any], list[int] | None]]:
    """Run every expectation; return its result and the positions of unexpected rows, None for one of the table."""
    import great_expectations as gx

    source = pandas_source()
    asset = source.add_dataframe_asset(name=uuid.uuid4().hex)
    try:
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        made = [build(expect, i, list(map(str, frame.columns))) for i, expect in enumerate(wanted)]
        suite = gx.ExpectationSuite(name=asset.name, expectations=made)
        results = batch.validate(suite, result_format="COMPLETE").results
    finally:
        source.delete_asset(asset.name)
        kept = source.get_execution_engine().batch_manager  # of every frame that it was ever given
        kept.batch_data_cache.clear()
        kept.reset_batch_cache()
    by_place = {result.expectation_config.meta["place"]: result for result in results}
    return [summary(expect, by_place[i], len(frame)) for i, expect in enumerate(wanted)]


def pandas_source() -> Any:
    """Return this thread's data source in an ephemeral context of its own; a new one a run would leak 1 MB."""
    if not hasattr(per_thread, "source"):
        os.environ.setdefault("GX_ANALYTICS_ENABLED", QUIET["GX_ANALYTICS_ENABLED"])
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        per_thread.source = context.data_sources.add_pandas("rows")
    return per_thread.source


def build(expect: Expect, place: int, columns: list[str]) -> Any:
    """Make Great Expectations' own object, its place among the wanted kept in `meta`."""
    import great_expectations as gx

    kinds = [name for name in dir(gx.expectations) if name.startswith("Expect")]
    if expect.type not in kinds:
        raise BadDeclaration(f"no expectation named {expect.type!r}; {nearest(expect.type, kinds)}")
    if expect.column is not None and expect.column not in columns:
        raise BadDeclaration(f"{expect.type}: no column {expect.column!r}; {nearest(expect.column, columns)}")
    column = {} if expect.column is None else {"column": expect.column}
    try:
        return getattr(gx.expectations, expect.type)(**column, **expect.arguments, meta={"place": place})
    except (ValueError, TypeError) as error:  # pydantic's own derives from ValueError
        raise BadDeclaration(f"{expect.name}: {' '.join(str(error).split())}") from error


def summary(expect: Expect, result: Any, rows: int) -> tuple[dict[str, Any], list[int] | None]:
    """Put one result in our words."""
    detail = result.result or {}
    positions = detail.get("unexpected_index_list")
    unexpected = len(positions or ())
    observed = detail.get("observed_value")
    line = {
        "expectation": expect.name,
        "column": expect.column,
        "passed": bool(result.success),
        "unexpected": unexpected,
        "share": unexpected / rows if rows else 0.0,
        "kwargs": dict(expect.arguments),
        "observed": observed.item() if isinstance(observed, np.generic) else observed,
        "error": failure(result.exception_info or {}),
    }
    per_row = positions is not None or "unexpected_count" in detail
    return line, [int(i) for i in positions or ()] if per_row else None


def failure(info: dict[str, Any]) -> str | None:
    """Return why an expectation could not be computed, None when it could."""
    for detail in (info, *info.values()):
        if isinstance(detail, dict) and detail.get("raised_exception"):
            return " ".join(str(detail.get("exception_message")).split())[:200]
    return None


def refusal(checked: list[tuple[dict[str, Any], list[int] | None]], rows: int, max_bad: float) -> str | None:
    """Return why the batch as a whole is unfit, None when it isn't."""
    if rows == 0:
        return "the batch has no rows"
    for line, positions in checked:
        if line["error"]:
            return f"{line['expectation']} can't be computed: {line['error']}"
        if not line["passed"] and positions is None:
            return f"{line['expectation']} fails: observed {line['observed']}"
        if not line["passed"] and line["unexpected"] == rows:
            return f"no row meets {line['expectation']}"
    bad = len(reasons_by_row(checked))
    if bad > max_bad * rows:
        worst = max((line for line, _ in checked if not line["passed"]), key=lambda line: line["unexpected"])
        return f"{bad} of {rows} rows are bad, more than {max_bad:.0%}; most fail {worst['expectation']}"
    return None


def reasons_by_row(checked: list[tuple[dict[str, Any], list[int] | None]]) -> dict[int, list[str]]:
    """Return by position what each bad row failed. An expectation met `mostly` makes no row bad."""
    found: dict[int, list[str]] = {}
    for line, positions in checked:
        for i in positions or () if not line["passed"] else ():
            found.setdefault(i, []).append(line["expectation"])
    return found


def report_markdown(validation: Validation) -> str:
    """Return the page for people: the verdict, then one line an expectation, failed ones first."""
    bad = len(validation.good) - int(validation.good.sum())
    verdict = f"**Refused**: {escaped(validation.refused)}." if validation.refused else f"{bad} of them fail."
    lines = [
        f"{len(validation.good)} rows were validated. {verdict}",
        "",
        "| | unexpected rows | share | observed | expectation |",
    ]
    lines.append("|---|---:|---:|---|---|")
    for line in sorted(validation.results, key=lambda line: bool(line["passed"])):
        mark = "ok" if line["passed"] else "**fails**"
        observed = line["error"] or ("" if line["observed"] is None else line["observed"])
        said = [escaped(str(value)[:300]) for value in (observed, line["expectation"])]
        lines.append(f"| {mark} | {line['unexpected']} | {line['share']:.1%} | {' | '.join(said)} |")
    return "\n".join(lines) + "\n"
