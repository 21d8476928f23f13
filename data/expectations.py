"""What must hold of a batch: the words for saying it, and what a schema says by itself. Needs no tool."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from data.columns.id import LONGEST
from data.declared import declared
from data.schema import Anomaly, ArrayColumn, Category, Column, Id, Number, Schema, Text


@declared
class Expect:
    """One expectation: Great Expectations' class name and its arguments, on one column or (None) on the table.

    Pictures, texts, clips and series are addressed by what describes them: `image.brightness`, `review.words`,
    `clip.loudness`, `load.OT.last`; docs/kinds.md has them all.
    """

    type: str
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How people and quarantined rows call it."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.type}({', '.join(part for part in (self.column, arguments) if part)})"


def guards(schema: Schema) -> tuple[Expect, ...]:
    """Return the expectations that every batch must meet, from its schema alone.

    They come first because others pass vacuously: on no rows nearly all do, on an all-null column all but NotNull.
    """
    return (
        Expect(type="ExpectTableRowCountToBeBetween", arguments={"min_value": 1}),
        *(Expect(type="ExpectColumnValuesToNotBeNull", column=name) for name in schema.identifiers),
        Expect(type="ExpectColumnValuesToBeUnique", column=schema.key),
        *(guard for name, column in schema.columns.items() for guard in column_guards(name, column, schema)),
    )


def column_guards(name: str, column: Column, schema: Schema) -> Iterator[Expect]:
    """Yield what one column's declaration says: nulls, range, levels, and what its descriptors can be."""
    if isinstance(column, ArrayColumn | Text):
        # pixels above `high` make brightness exceed 1, a text that is too long has too many characters
        for part, described in column.described(name).items():
            yield from bounds(part, described)
        return
    if isinstance(column, Id):
        yield Expect(type="ExpectColumnValuesToNotBeNull", column=name)
        lengths = {"min_value": 1, "max_value": LONGEST}
        yield Expect(type="ExpectColumnValueLengthsToBeBetween", column=name, arguments=lengths)
        return
    if isinstance(column, Anomaly):
        pass  # a batch of which nobody knows anything yet is good
    elif column.nullable and name != schema.target:
        yield Expect(
            type="ExpectColumnProportionOfNonNullValuesToBeBetween",
            column=name,
            arguments={"min_value": 0, "strict_min": True},
        )
    else:
        yield Expect(type="ExpectColumnValuesToNotBeNull", column=name)
    if isinstance(column, Number):
        yield from bounds(name, column)
    if isinstance(column, Category) and not column.open:
        yield Expect(type="ExpectColumnValuesToBeInSet", column=name, arguments={"value_set": list(column.levels)})


def bounds(name: str, column: Number) -> Iterator[Expect]:
    """Yield the range of a number, where it has one."""
    given = {key: end for key, end in (("min_value", column.low), ("max_value", column.high)) if end is not None}
    if given:
        yield Expect(type="ExpectColumnValuesToBeBetween", column=name, arguments=given)
