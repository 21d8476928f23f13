"""Whether a candidate would refuse a request that the champion accepts, from their two schemas alone."""

from collections.abc import Iterator

from data.schema import ArrayColumn, Column, Schema, aliases


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
    if type(before) is type(after):
        yield from before.narrowed(after)  # type: ignore[arg-type]
    else:
        yield f"is a {type(after).__name__} and was a {type(before).__name__}"


def unaskable(asks: Schema, rows: Schema) -> str:
    """Say why a version that asks for the columns of one schema can't answer rows of another; nothing: it can."""
    for name, column in asks.features.items():
        other = rows.columns.get(name)
        if other is None or name == rows.target:
            return f"they have no {name!r}"
        if type(other) is not type(column) or (isinstance(column, ArrayColumn) and column.shape != other.shape):  # type: ignore[union-attr]
            return f"their {name!r} is another kind of column"
    if asks.target != rows.target or type(asks.columns[asks.target]) is not type(rows.columns[rows.target]):
        return f"their label is {rows.target!r}, another kind than {asks.target!r}"
    return ""
