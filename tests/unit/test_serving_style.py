import re
from itertools import product

import pytest

from serving.style import STYLE

LIGHT, DARK = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL))
TEXTS = ("ink", "soft", "link", "ok", "drift")
MARKS = ("ok", "drift", "degraded", "fault", "failed", "insufficient", "hue", "ink")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_by_day_and_by_night(colours: dict[str, str]) -> None:
    for text, ground in product(TEXTS, ("paper", "card", "wash")):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for pill in ("ok", "drift", "degraded", "fault", "failed", "insufficient", "link"):
        assert contrast(colours["on"], colours[pill]) >= 4.5, pill
    for mark in MARKS:
        assert contrast(colours[mark], colours["card"]) >= 3.0, mark
