"""Write a project file to start from: its schema, ranges and sets inferred from a CSV."""

import json
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadDeclaration, SourceUnavailable
from models.declarations import Evaluation
from models.gates import MINIMUM_BLOCKS

if TYPE_CHECKING:
    import pandas as pd

FEW_LEVELS = 30  # more distinct words than this are text or an identifier, not a category
WORDS = 3  # in the usual value of a column that somebody wrote
TARGETS = ("target", "label", "class", "y", "outcome")
WEEK_OF_ROWS = 200
TOLERATED = 0.02  # of the error of always answering the median, where the target is a number


@dataclass(frozen=True)
class Inferred:
    """What a table seems to hold."""

    columns: dict[str, str]  # name -> the declaration's source text
    left_out: dict[str, str]  # name -> why
    target: str
    task: str
    key: str | None
    time: str | None
    rows: int
    days: int | None  # among the newest rows, those that judge where time decides; None without a time
    margin: float  # in the unit of the metric


def scaffold(name: str, csv: Path, target_folder: Path, *, target: str | None = None) -> Path:
    """Write `target_folder/name.py` from the CSV's columns and return its path.

    Raises:
        SourceUnavailable: the CSV can't be read.
        BadDeclaration: the name can't be a project's, the file exists, or no target can be told.
    """
    import pandas as pd

    path = target_folder / f"{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or keyword.iskeyword(name):
        raise BadDeclaration(f"{name!r} can't name a project: a lower-case letter, then letters, digits or _")
    if path.exists():
        raise BadDeclaration(f"{path} exists already")
    try:
        frame = pd.read_csv(csv)
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"{csv} can't be read as CSV: {error}") from error
    if frame.empty:
        raise SourceUnavailable(f"{csv} has no rows")
    inferred = infer(frame, target)
    target_folder.mkdir(parents=True, exist_ok=True)
    path.write_text(render(name, csv.absolute(), inferred))
    return path


def infer(frame: "pd.DataFrame", target: str | None) -> Inferred:
    """Tell numbers from categories, find key, time and target, and say what is left out and why."""
    chosen = target or next((name for name in frame if str(name).lower() in TARGETS), str(frame.columns[-1]))
    if chosen not in frame:
        raise BadDeclaration(f"no column {chosen!r}; columns: {', '.join(map(str, frame.columns))}")
    time = next((name for name in map(str, frame) if name != chosen and is_time(frame[name])), None)
    key = next((name for name in map(str, frame) if name not in (chosen, time) and is_key(name, frame[name])), None)
    columns: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in map(str, frame):
        if name in (key, time):
            continue
        declared = declare(frame[name], is_target=name == chosen)
        if declared is None:
            empty = "text, but empty in some rows" if written(frame[name]) else "an identifier"
            left_out[name] = f"{frame[name].nunique()} different words: {empty}"
        else:
            columns[name] = declared
    if chosen not in columns:
        raise BadDeclaration(f"{chosen!r} can't be a target: it has too many levels and is no number")
    task = "classification" if columns[chosen].startswith("Category") else "regression"
    days = newest_days(frame[time]) if time else None
    margin = 0.05 if task == "classification" else tolerance(frame[chosen])
    return Inferred(columns, left_out, chosen, task, key, time, len(frame), days, margin)


def newest_days(times: "pd.Series") -> int:
    """Count the days of the rows that would judge if time chose them."""
    import pandas as pd

    sorted_ = pd.to_datetime(times, errors="coerce", utc=True).dropna().sort_values()
    newest = sorted_.tail(round(len(sorted_) * Evaluation().judge))
    return int(newest.dt.date.nunique())


def tolerance(target: "pd.Series") -> float:
    """Return a loss of mean absolute error that hardly matters, in the target's own unit, to two digits."""
    error = float((target - target.median()).abs().mean())
    return float(f"{error * TOLERATED:.2g}") or TOLERATED


def declare(values: "pd.Series", *, is_target: bool) -> str | None:
    """Return a column's declaration as source text; None where it is neither a number nor a category."""
    import pandas as pd

    known = values.dropna()
    nullable = ", nullable=True" if len(known) < len(values) and not is_target else ""
    numeric = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
    few = known.nunique() <= (FEW_LEVELS if not numeric else 2)
    if numeric and not (is_target and (few or (whole(known) and known.nunique() <= FEW_LEVELS // 3))):
        low, high = float(known.min()), float(known.max())
        slack = (high - low) * 0.5 or abs(high) or 1.0
        integer = ", integer=True" if whole(known) else ""
        low_text = "0" if 0 <= low <= slack else f"{low - slack:.6g}"
        return f"Number(low={low_text}, high={high + slack:.6g}{integer}{nullable})"
    if written(known) and not is_target:
        return None if nullable else f"Text(longest={2 * int(known.str.len().max())})"
    if known.nunique() <= FEW_LEVELS:
        levels = sorted(str(level) for level in known.unique())
        listed = ", ".join(map(quoted, levels)) + ("," if len(levels) == 1 else "")
        return f"Category(levels=({listed}){nullable})"
    return None


def quoted(text: str) -> str:
    """Return a string literal as our style has it."""
    return json.dumps(text, ensure_ascii=False)


def whole(values: "pd.Series") -> bool:
    """Tell whether every number is an integer."""
    return bool((values == values.round()).all())


def written(values: "pd.Series") -> bool:
    """Tell whether a column holds what somebody wrote: many different values, mostly of several words."""
    known = values.dropna()
    if known.dtype != object or known.nunique() <= FEW_LEVELS or not known.map(lambda one: isinstance(one, str)).all():
        return False
    return bool(known.str.strip().ne("").all() and known.map(lambda one: len(one.split())).median() >= WORDS)


def is_key(name: str, values: "pd.Series") -> bool:
    """Tell whether a column names its rows: unique, and called so or made of words."""
    if written(values):
        return False
    named = re.search(r"(^|_)(id|key|uuid|no|number)$", name.lower()) is not None
    return bool(values.is_unique and values.notna().all() and (named or values.dtype == object))


def is_time(values: "pd.Series") -> bool:
    """Tell whether words read as times."""
    import pandas as pd

    if values.dtype != object:
        return False
    sample = values.dropna().astype(str).head(50)
    dated = sample.str.contains(r"\d{4}-\d{2}-\d{2}|\d{1,2}/\d{1,2}/\d{2,4}", regex=True)
    return bool(len(sample) and dated.all() and pd.to_datetime(sample, errors="coerce", utc=True).notna().all())


def render(name: str, csv: Path, found: Inferred) -> str:
    """Return the project file's text."""
    words = ["Evaluation", "Files", "Gates", "Model", "Monitors", "Project", "Schema", "Training", "Window"]
    kinds = {text.partition("(")[0] for text in found.columns.values()}
    words += sorted(kinds)
    words += [] if found.key else ["Batch"]
    imports = "".join(f"    {word},\n" for word in sorted(words))
    columns = "".join(f"            {quoted(column)}: {text},\n" for column, text in found.columns.items())
    left_out = "".join(f"    # left out: {column!r}, {why}\n" for column, why in found.left_out.items())
    key = found.key or "row"
    keyless = "" if found.key else KEYLESS.format(csv=str(csv), name=name)
    source = f"Files(folder={quoted(str(csv.parent))}, pattern={quoted(csv.name)})" if found.key else "numbered"
    metric = "accuracy" if found.task == "classification" else "mae"
    imports = imports if found.key else "".join(line + "\n" for line in imports.splitlines() if "Files" not in line)
    return TEMPLATE.format(
        name=name,
        csv=csv.name,
        rows=found.rows,
        imports=imports,
        columns=columns,
        left_out=left_out,
        target=quoted(found.target),
        key=quoted(key),
        time=f"        time={quoted(found.time)},\n" if found.time else "",
        task=found.task,
        model=READS if "Text" in kinds else TABLE,
        source=source,
        keyless=keyless,
        window=WEEK_OF_ROWS,
        evaluation=evaluation(metric, found.days),
        margin=f"{found.margin:g}",
        unit="" if found.task == "classification" else f"  # margin: in the unit of {found.target!r}",
        keyless_import="" if found.key else "\nfrom collections.abc import Iterator\n",
    )


def evaluation(metric: str, days: int | None) -> str:
    """Return which rows judge: the newest, unless there is no time or too few days to tell by."""
    if days is not None and days >= MINIMUM_BLOCKS:
        return f"    evaluation=Evaluation(metric={quoted(metric)}),"
    why = f"    # the newest rows are of {days} days, {MINIMUM_BLOCKS} are needed to judge by: entities judge\n"
    said = f"    evaluation=Evaluation(metric={quoted(metric)}, exchangeable=True),"
    return said if days is None else why + said


TABLE = 'Model(network="mlp", options={"hidden": (64, 32), "dropout": 0.1})'
READS = 'Model(network="transformer", options={"width": 64, "dropout": 0.3})'
KEYLESS = '''

def numbered() -> Iterator[Batch]:
    """Read the table; it has no column that names a row, so the row's number does."""
    import pandas as pd

    frame = pd.read_csv({csv!r})
    frame["row"] = [f"row-{{i}}" for i in range(len(frame))]
    yield Batch("{name}", frame)

'''

TEMPLATE = '''"""{name}: say here what is decided with its answers, and by whom.

Inferred from {csv} ({rows} rows). Read every range and set: a value outside them is bad data, not news.
"""
{keyless_import}
from projects.declaration import (
{imports})
{keyless}
project = Project(
    name="{name}",
    task="{task}",
    schema=Schema(
        columns={{
{columns}        }},
        target={target},
        key={key},
{time}    ),
{left_out}    source={source},
    model={model},
    training=Training(epochs=40, batch_size=64, learning_rate=1e-3),
{evaluation}
    gates=Gates(margin={margin}, anchor_rows=100),{unit}
    monitors=Monitors(window=Window(rows={window})),
)
'''
