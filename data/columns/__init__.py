"""The kinds of columns, a module each: how a kind's values are read, kept, described, compared and told of.

A kind that is added here has to be added to what encodes it (models/encoding.py) and says its shape
(models/specification.py), to what reads it in a request (serving/values.py) and in an Arrow stream (serving/arrow.py),
and to what documents that (serving/openapi_schemas.py).
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from data.columns.anomaly import Anomaly
from data.columns.audio import Audio
from data.columns.base import ArrayColumn, Misfits, Objections, Rows
from data.columns.category import Category
from data.columns.id import Id
from data.columns.image import Image
from data.columns.number import Number
from data.columns.series import Series
from data.columns.text import Text

__all__ = [
    "Anomaly",
    "ArrayColumn",
    "Audio",
    "Category",
    "Column",
    "Id",
    "Image",
    "Misfits",
    "Number",
    "Objections",
    "Rows",
    "Series",
    "Text",
    "column_from_json",
    "column_to_json",
]

Column = Number | Category | Image | Text | Audio | Series | Id
KINDS: dict[str, type[Column]] = {
    kind.__name__: kind for kind in (Number, Category, Anomaly, Image, Text, Audio, Series, Id)
}


def column_to_json(column: Column) -> dict[str, Any]:
    """Return a column as plain JSON values."""
    return {"type": type(column).__name__, **asdict(column)}


def column_from_json(stored: Mapping[str, Any]) -> Column:
    """Undo `column_to_json`."""
    said = {key: value for key, value in stored.items() if key != "type"}
    keys: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return KINDS[stored["type"]](**keys)
