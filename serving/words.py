"""Counts and numbers as people say them; data.wording has the rest."""

import math
from typing import Any

from data.wording import significant


def number(value: Any, digits: int = 3) -> str:
    """Return a number with so many significant digits; what is none is a dash."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return significant(value, digits) if known else "-"


def many(count: int, one: str, several: str = "") -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
