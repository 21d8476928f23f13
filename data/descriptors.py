"""Columns as numbers and categories, so that expectations and monitors can speak of them. Needs numpy only.

A picture, a text, a clip or a series `x` is described by a few numbers each: `x.brightness`, `x.words`, …
"""

from collections.abc import Mapping

from data.columns import Column, Rows


def describe(columns: Mapping[str, Column], rows: Rows) -> Rows:
    """Return numbers and categories as they are, and each other column as what its kind says of it."""
    found: Rows = {}
    for name, column in columns.items():
        found |= column.describe(name, rows[name])
    return found


def described(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns of what `describe` returns."""
    return {part: kind for name, column in columns.items() for part, kind in column.described(name).items()}
