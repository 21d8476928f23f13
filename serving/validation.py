"""Strangers' JSON rows, read strictly by the schema of the generation that will answer them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import inf, isfinite, nan
from os import urandom
from sys import float_info
from time import time_ns
from typing import Any, NamedTuple

import numpy as np
import orjson

from data.errors import BadRow, nearest
from data.schema import Category, Column, Image, Number, Rows, Schema, aliases

LONGEST_ID = 200
LONGEST_TEXT = 1000
FUTURE = timedelta(days=1)  # a clock may be a little wrong; a time years ahead would end every window

LARGEST = float_info.max
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}

Check = Callable[[Any], Any]


class Unfit(Exception):
    """A value is not what its column says; `within` is the place inside the value, like [3][0]."""

    def __init__(self, why: str, within: str = "") -> None:
        self.why, self.within = why, within
        super().__init__(why)


class ReadRow(NamedTuple):
    """One row as validated: `values` stand in the order of the schema's features; `named`: the id is the client's."""

    id: str
    entity: str
    time: datetime | None
    values: list[Any]
    named: bool = True


@dataclass(frozen=True)
class ReadColumns:
    """Rows that came as columns, validated: identifiers and features, no target."""

    ids: list[str]
    times: list[datetime | None]
    columns: Rows
    named: bool

    def __len__(self) -> int:
        return len(self.ids)


class RowReader:
    """Reads rows by one schema: features by their names, the key as `id`, entity and time if known.

    A row without an id gets a new one; without an entity it is its own.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.checks: list[tuple[str, Check]] = [(name, checker(column)) for name, column in schema.features.items()]
        self.aliases = aliases(schema)

    def read(self, rows: Any, limit: int) -> list[ReadRow]:
        """Return every row validated, or refuse them all.

        Raises: BadRow, naming the first value that does not fit.
        """
        if not isinstance(rows, list) or not rows:
            raise BadRow("rows", "a list of at least one row expected")
        if len(rows) > limit:
            raise BadRow("rows", f"{len(rows)} rows; at most {limit} a request")
        read = [self.read_row(row, f"rows[{i}]") for i, row in enumerate(rows)]
        refuse_duplicates([row.id for row in read], "rows", "id")
        return read

    def read_row(self, row: Any, where: str) -> ReadRow:
        """Return one row validated.

        Raises: BadRow.
        """
        if type(row) is not dict:
            raise BadRow(where, f"an object expected, not {kind(row)}")
        name, values = "", []
        try:
            for name, check in self.checks:
                values.append(check(row[name]))
        except KeyError:
            raise self.missing(name, row, where) from None
        except Unfit as error:
            raise BadRow(f"{where}.{name}{error.within}", error.why) from error
        if len(row) == len(values):
            identity = new_id()
            return ReadRow(identity, identity, None, values, named=False)
        known = self.identify(row, where)
        identity = known["key"] if "key" in known else new_id()
        return ReadRow(identity, known.get("entity", identity), known.get("time"), values, "key" in known)

    def identify(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Read the keys of a row that are no features: its identifiers, under either of their names."""
        known: dict[str, Any] = {}
        features = self.schema.columns
        for name in (name for name in row if name not in features or name == self.schema.target):
            role = self.aliases.get(name)
            if role is None:
                raise BadRow(f"{where}.{name[:80]}", self.unknown(name))
            try:
                value = moment(row[name]) if role == "time" else identifier(row[name])
            except Unfit as error:
                raise BadRow(f"{where}.{name}", error.why) from error
            if known.setdefault(role, value) != value:
                raise BadRow(f"{where}.{name}", f"the {role} is given twice, with different values")
        return known

    def unknown(self, name: str) -> str:
        """Say what may have been meant by a key that is none of ours."""
        if name == self.schema.target:
            return "the target is what is asked for: send it later, as a label"
        return f"unknown key; {nearest(name[:80], [*self.schema.features, *self.aliases])}"

    def missing(self, name: str, row: Mapping[str, Any], where: str) -> BadRow:
        """Say that a feature is missing; a stranger's key, maybe the same misspelt, is named first."""
        self.identify(row, where)
        null = "; send null if unknown" if getattr(self.schema.columns[name], "nullable", False) else ""
        return BadRow(f"{where}.{name}", f"missing{null}")

    def columns(self, rows: Sequence[ReadRow]) -> Rows:
        """Return validated rows as columns: identifiers and features, no target."""
        schema = self.schema
        made: Rows = {schema.key: objects([row.id for row in rows])}
        if schema.entity is not None and schema.entity != schema.key:
            made[schema.entity] = objects([row.entity for row in rows])
        if schema.time is not None:
            times = ["NaT" if row.time is None else row.time.replace(tzinfo=None) for row in rows]
            made[schema.time] = np.array(times, dtype="datetime64[us]")
        for place, (name, column) in enumerate(schema.features.items()):
            made[name] = stacked(column, [row.values[place] for row in rows])
        return made


def new_id() -> str:
    """Return a UUID of version 7: new rows lie beside each other in the log's index, so a commit touches few pages."""
    at, chance = f"{time_ns() // 1_000_000:012x}", urandom(10).hex()
    return f"{at[:8]}-{at[8:]}-7{chance[:3]}-{VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"


def checker(column: Column) -> Check:
    """Return the function that gives a column's value back as it is logged, or raises Unfit."""
    if isinstance(column, Number):
        return number_checker(column)
    return image_checker(column) if isinstance(column, Image) else category_checker(column)


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


def category_checker(column: Category) -> Check:
    """Read one of the levels, or any text where the set is open."""
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
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise Unfit(f"text of at most {LONGEST_TEXT} characters without NUL expected")
        return value

    return check


def image_checker(column: Image) -> Check:
    """Read nested lists of whole pixel values as uint8 of the column's shape."""

    def check(value: Any) -> np.ndarray:
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


def refuse_duplicates(ids: Sequence[str], where: str, key: str) -> None:
    """Raise BadRow for the first id that an earlier row has too."""
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for i, identity in enumerate(ids):
        if first.setdefault(identity, i) != i:
            raise BadRow(f"{where}[{i}].{key}", f"{shown(identity)} is the id of {where}[{first[identity]}] too")


def objects(values: Iterable[Any]) -> np.ndarray:
    """Return an object array, one element a value."""
    values = list(values)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def stacked(column: Column, values: list[Any]) -> np.ndarray:
    """Return one column's checked values as an array."""
    if isinstance(column, Number):
        return np.array(values, dtype=np.float64)
    return np.stack(values) if isinstance(column, Image) else objects(values)


def kind(value: Any) -> str:
    """Name a JSON value's type in JSON's words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def shown(text: str) -> str:
    """Quote text for a message, shortened."""
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
