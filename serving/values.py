"""One value as strangers send it in JSON, read strictly by its column."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from itertools import chain
from math import inf, isfinite, nan
from sys import float_info
from typing import Any, TypeVar

import numpy as np
import orjson

from data.columns.category import LONGEST_LEVEL, fits_open
from data.columns.id import LONGEST, fits_id
from data.columns.image import unbase64, unpng
from data.errors import nearest
from data.schema import FUTURE, LONGEST_ID, Anomaly, Audio, Category, Column, Id, Image, Number, Series, Text

LARGEST = float_info.max

Check = Callable[[Any], Any]
T = TypeVar("T")


class Unfit(Exception):
    """A value is not what its column says; `within` is the place inside the value, like [3][0]."""

    def __init__(self, why: str, within: str = "") -> None:
        self.why, self.within = why, within
        super().__init__(why)


def checker(column: Column) -> Check:
    """Return the function that gives a column's value back as it is logged, or raises Unfit."""
    match column:
        case Number():
            return number_checker(column)
        case Category():
            return category_checker(column)
        case Image():
            return image_checker(column)
        case Text() | Audio():
            return text_checker(column)
        case Series():
            return series_checker(column)
        case Id():
            return id_checker


def number_checker(column: Number) -> Check:
    """Read a finite number within its bounds; NaN stands for null."""
    low = -inf if column.low is None else column.low
    high = inf if column.high is None else column.high
    least, most = max(low, -LARGEST), min(high, LARGEST)

    def check(value: Any) -> float:
        if type(value) is float and least <= value <= most and not column.integer:
            return value  # nearly all there are
        if type(value) is not float and type(value) is not int:
            if value is None and column.nullable:
                return nan
            raise Unfit(f"a number expected, not {kind(value)}")
        number = float(value)
        if not isfinite(number):
            raise Unfit("a finite number expected")
        if not low <= number <= high:
            raise Unfit(f"{number:g} is outside [{low:g}, {high:g}]")
        if column.integer and not number.is_integer():
            raise Unfit(f"a whole number expected, not {number:g}")
        return number

    return check


def truth_checker(value: Any) -> str | None:
    """Read true, false or null."""
    if value is None:
        return None
    if type(value) is not bool:
        raise Unfit(f"true or false expected, not {kind(value)}")
    return "true" if value else "false"


def category_checker(column: Category) -> Check:
    """Read one of the levels, or any text where the set is open."""
    if isinstance(column, Anomaly):
        return truth_checker
    levels = frozenset(column.levels)

    def check(value: Any) -> str | None:
        if type(value) is not str:
            if value is None and column.nullable:
                return None
            raise Unfit(f"text expected, not {kind(value)}")
        if value in levels:
            return value
        if not column.open:
            raise Unfit(f"{shown(value)} is not a known level; {nearest(value[:80], column.levels)}")
        if not fits_open(value):
            raise Unfit(f"text of at most {LONGEST_LEVEL} characters without NUL expected")
        return value

    return check


def image_checker(column: Image) -> Check:
    """Read nested lists of whole pixel values, or a PNG in base64, as uint8 of the column's shape."""

    def check(value: Any) -> np.ndarray:
        if type(value) is str:
            return said(lambda: column.fitting(unpng(unbase64(value, "a picture"), column.channels)))
        quick = joined(value, column)
        if quick is not None:
            return quick
        flat: list[Any] = [value]
        for axis, expected in enumerate(column.shape):
            for part in flat:
                if type(part) is not list or len(part) != expected:
                    found = f"{len(part)} values" if type(part) is list else kind(part)
                    raise Unfit(f"lists of shape {column.shape} expected; axis {axis} has {found}, not {expected}")
            flat = list(chain.from_iterable(flat))
        if not set(map(type, flat)) <= {int}:
            flat = whole(flat, column.shape)
        try:
            pixels = np.frombuffer(bytes(flat), np.uint8)
        except ValueError:  # a value outside a byte
            pixels = None
        if pixels is None or pixels.max(initial=0) > column.high:
            place = next(i for i, pixel in enumerate(flat) if not 0 <= pixel <= column.high)
            raise Unfit(f"a pixel is 0 to {column.high}, not {flat[place]}", position(place, column.shape))
        return pixels.reshape(column.shape)

    return check


def text_checker(column: Text | Audio) -> Check:
    """Read a text as it is, or a clip as the base64 of a WAV file."""

    def check(value: Any) -> str | np.ndarray:
        if type(value) is not str:
            raise Unfit(f"text expected, not {kind(value)}")
        if isinstance(column, Audio):
            return said(lambda: column.wav(unbase64(value, "a clip")))
        return said(lambda: column.read(value))

    return check


def id_checker(value: Any) -> str:
    """Read an id."""
    if type(value) is not str:
        raise Unfit(f"text expected, not {kind(value)}")
    if not fits_id(value):
        raise Unfit(f"1 to {LONGEST} printable characters expected")
    return value


def learned_checker(levels: Collection[str]) -> Check:
    """Read an id that the version has learned."""
    known = frozenset(levels)

    def check(value: Any) -> str:
        if id_checker(value) not in known:
            raise Unfit(f"{shown(value)} was never learned: none of {len(known):,} known ids")
        return str(value)

    return check


def series_checker(column: Series) -> Check:
    """Read a list a step, of a number a channel, null in a gap."""

    def check(value: Any) -> np.ndarray:
        if type(value) is not list:
            raise Unfit(f"a list expected, not {kind(value)}")
        for place, part in enumerate(value):
            if type(part) is not list or len(part) != len(column.channels):
                found = f"{len(part)} values" if type(part) is list else kind(part)
                raise Unfit(f"a list of {len(column.channels)} numbers expected, not {found}", f"[{place}]")
            for at, number in enumerate(part):
                if type(number) not in (float, int, type(None)):
                    raise Unfit(f"a number expected, not {kind(number)}", f"[{place}][{at}]")
        return said(lambda: column.read(value))

    return check


def said(read: Callable[[], T]) -> T:
    """Return what was read; what a column says against it becomes an Unfit."""
    try:
        return read()
    except ValueError as error:
        raise Unfit(str(error)) from None


def joined(value: Any, column: Image) -> np.ndarray | None:
    """Return a picture of one channel that fits; None for what has to be looked at closely, most likely to refuse it.

    Of what JSON has, `bytes` takes whole numbers, true and false; the latter are the ones that are written with an e.
    """
    fits = column.channels == 1 and type(value) is list and len(value) == column.height
    if not fits or set(map(type, value)) != {list} or set(map(len, value)) != {column.width}:
        return None
    try:
        pixels = np.frombuffer(b"".join(map(bytes, value)), np.uint8)
    except (TypeError, ValueError):
        return None
    if b"e" in orjson.dumps(value) or (column.high < 255 and pixels.max(initial=0) > column.high):
        return None
    return pixels.reshape(column.shape)


def whole(flat: list[Any], shape: tuple[int, ...]) -> list[int]:
    """Turn 12.0 into 12 and refuse all else that is no whole number."""
    for place, pixel in enumerate(flat):
        if type(pixel) is not int and not (type(pixel) is float and pixel.is_integer()):
            found = f"{pixel:g}" if type(pixel) is float else kind(pixel)
            raise Unfit(f"a whole number expected, not {found}", position(place, shape))
    return [int(pixel) for pixel in flat]


def position(place: int, shape: tuple[int, ...]) -> str:
    """Return a flat position as [row][column]."""
    return "".join(f"[{int(i)}]" for i in np.unravel_index(place, shape))


def identifier(value: Any) -> str:
    """Read a key or an entity."""
    if type(value) is not str:
        raise Unfit(f"text expected, not {kind(value)}")
    if not 0 < len(value) <= LONGEST_ID or not value.isprintable():
        raise Unfit(f"1 to {LONGEST_ID} printable characters expected")
    return value


def moment(value: Any) -> datetime:
    """Read an ISO 8601 time that names its offset; the result is in UTC."""
    if type(value) is not str:
        raise Unfit(f"an ISO 8601 time as text expected, not {kind(value)}")
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise Unfit(f"{shown(value)} names no offset; write 2026-01-31T12:00:00Z or …+01:00")
        at = at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unfit(f"{shown(value)} is no ISO 8601 time") from error
    if at > datetime.now(UTC) + FUTURE:
        raise Unfit(f"{shown(value)} lies in the future")
    return at


def kind(value: Any) -> str:
    """Name a JSON value's type in JSON's words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def shown(text: str) -> str:
    """Quote text for a message, shortened."""
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
