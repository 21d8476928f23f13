"""Whether a candidate would refuse a request that the champion accepts, from their two schemas alone."""

import math
from collections.abc import Iterator

from data.schema import Category, Column, Image, Number, Schema, aliases

LONGEST_TEXT = 1000  # characters of a level that an open set takes, as serving reads it


def incompatibilities(before: Schema, after: Schema) -> tuple[str, ...]:
    """Return what a request or a label may say by `before` that is refused by `after`; none: they are compatible.

    Every feature must be sent and unknown keys are refused, so a feature more is as bad as one less, even where
    it may be null.
    """
    return tuple(differences(before, after))


def differences(before: Schema, after: Schema) -> Iterator[str]:
    """Yield one phrase for each thing that changed for the worse."""
    old, new = before.features, after.features
    for name in new.keys() - old.keys():
        yield f"{name!r} is asked for and was not"
    for name in old.keys() - new.keys():
        yield f"{name!r} is no longer known"
    for name in old.keys() & new.keys():
        yield from (f"{name!r} {said}" for said in narrowed(old[name], new[name]))
    roles = aliases(after)
    for name, role in aliases(before).items():
        if name not in old and roles.get(name) != role:
            yield f"{name!r} no longer names the {role}"
    if before.target != after.target:
        yield f"the label is {after.target!r} and was {before.target!r}"
    else:
        target = (before.columns[before.target], after.columns[after.target])
        yield from (f"the label {before.target!r} {said}" for said in narrowed(*target))


def narrowed(before: Column, after: Column) -> Iterator[str]:
    """Yield what values of a column are no longer accepted."""
    match before, after:
        case Number(), Number():
            yield from narrowed_number(before, after)
        case Category(), Category():
            yield from narrowed_category(before, after)
        case Image(), Image():
            if before.shape != after.shape:
                yield f"has the shape {after.shape} and had {before.shape}"
            if after.high < before.high:
                yield f"has pixels up to {after.high} and had them up to {before.high}"
            return
        case _:
            yield f"is a {type(after).__name__} and was a {type(before).__name__}"
            return
    if before.nullable and not after.nullable:
        yield "may no longer be null"


def narrowed_number(before: Number, after: Number) -> Iterator[str]:
    """Yield which numbers are no longer accepted."""
    if bound(after.low, -math.inf) > bound(before.low, -math.inf):
        yield f"is at least {after.low:g} and was {'unbounded' if before.low is None else f'at least {before.low:g}'}"
    if bound(after.high, math.inf) < bound(before.high, math.inf):
        yield f"is at most {after.high:g} and was {'unbounded' if before.high is None else f'at most {before.high:g}'}"
    if after.integer and not before.integer:
        yield "must be a whole number"


def bound(value: float | None, unbounded: float) -> float:
    """Return a bound as a number."""
    return unbounded if value is None else value


def narrowed_category(before: Category, after: Category) -> Iterator[str]:
    """Yield which levels are no longer accepted."""
    if before.open and not after.open:
        yield "no longer takes levels that it does not name"
    lost = [level for level in before.levels if level not in after.levels and not (after.open and fits_open(level))]
    if lost:
        yield f"no longer has {', '.join(map(repr, lost[:3]))}" + (f" and {len(lost) - 3} more" if lost[3:] else "")


def fits_open(level: str) -> bool:
    """Whether an open set takes this text."""
    return len(level) <= LONGEST_TEXT and "\0" not in level


def unaskable(asks: Schema, rows: Schema) -> str:
    """Say why a version that asks for the columns of one schema can't answer rows of another; nothing: it can."""
    for name, column in asks.features.items():
        other = rows.columns.get(name)
        if other is None or name == rows.target:
            return f"they have no {name!r}"
        if type(other) is not type(column) or (isinstance(column, Image) and column.shape != other.shape):  # type: ignore[union-attr]
            return f"their {name!r} is another kind of column"
    if asks.target != rows.target or type(asks.columns[asks.target]) is not type(rows.columns[rows.target]):
        return f"their label is {rows.target!r}, another kind than {asks.target!r}"
    return ""
