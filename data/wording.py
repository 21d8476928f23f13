"""Numbers and times as people read them."""

import math
from datetime import datetime, timedelta

LONGEST = 1e12  # from here on an exponent says more than its zeros


def significant(value: float, digits: int = 4, sign: str = "") -> str:
    """Write a number with so many significant digits; a whole part stands in full, without an exponent.

    `sign`: "+" to write it before numbers above 0 too.
    """
    text = format(value, f"{sign}.{digits}g")
    return format(value, f"{sign}.0f") if "e+" in text and math.fabs(value) < LONGEST else text


def moment(at: datetime) -> str:
    """Say a time, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def lasting(time: timedelta) -> str:
    """Write a length of time in its largest whole unit: 14 days, 3 hours, 1 minute."""
    seconds = time.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if round(seconds / size, 1) >= 1:
            count = significant(round(seconds / size, 0 if seconds >= 10 * size else 1), 6)
            return f"{count} {unit}{'' if count == '1' else 's'}"
    return f"{seconds:.0f} second{'' if round(seconds) == 1 else 's'}"
