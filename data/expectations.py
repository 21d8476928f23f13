"""What must hold of a batch: the words for saying it, and what a schema says by itself. Needs no tool."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from data.declared import declared
from data.schema import Category, Column, Image, Number, Schema


@declared
class Expect:
    """One expectation: Great Expectations' class name and its arguments, on one column or (None) on the table.

    Images are addressed by their descriptors: `image.brightness`, `image.contrast`, `image.sharpness`, each 0 to 1.
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
    """Yield what one column's declaration says: nulls, range, levels, pixels."""
    if isinstance(column, Image):
        # pixels above `high` would make these exceed 1
        for part in ("brightness", "contrast", "sharpness"):
            yield Expect(
                type="ExpectColumnValuesToBeBetween",
                column=f"{name}.{part}",
                arguments={"min_value": 0, "max_value": 1},
            )
        return
    if column.nullable and name != schema.target:
        yield Expect(
            type="ExpectColumnProportionOfNonNullValuesToBeBetween",
            column=name,
            arguments={"min_value": 0, "strict_min": True},
        )
    else:
        yield Expect(type="ExpectColumnValuesToNotBeNull", column=name)
    if isinstance(column, Number) and (column.low is not None or column.high is not None):
        bounds = {"min_value": column.low, "max_value": column.high}
        given = {key: value for key, value in bounds.items() if value is not None}
        yield Expect(type="ExpectColumnValuesToBeBetween", column=name, arguments=given)
    if isinstance(column, Category) and not column.open:
        yield Expect(type="ExpectColumnValuesToBeInSet", column=name, arguments={"value_set": list(column.levels)})
