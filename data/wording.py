"""Numbers as people read them."""

import math

LONGEST = 1e12  # from here on an exponent says more than its zeros


def significant(value: float, digits: int = 4, sign: str = "") -> str:
    """Write a number with so many significant digits; a whole part stands in full, without an exponent.

    `sign`: "+" to write it before numbers above 0 too.
    """
    text = format(value, f"{sign}.{digits}g")
    return format(value, f"{sign}.0f") if "e+" in text and math.fabs(value) < LONGEST else text
