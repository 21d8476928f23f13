"""What a project's data is: typed columns and the roles they play. Needs numpy only."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np

from data.columns import (
    Anomaly,
    ArrayColumn,
    Audio,
    Category,
    Column,
    Id,
    Image,
    Number,
    Rows,
    Series,
    Text,
    column_from_json,
    column_to_json,
)
from data.declared import declared
from data.errors import BadDeclaration, nearest

__all__ = [
    "FUTURE",
    "LONGEST_ID",
    "Anomaly",
    "ArrayColumn",
    "Audio",
    "Category",
    "Column",
    "Id",
    "Image",
    "Number",
    "Ranking",
    "Rows",
    "Schema",
    "Series",
    "Text",
    "aliases",
    "column_from_json",
    "column_to_json",
    "concatenate",
    "length",
    "row_bytes",
    "schema_from_json",
    "take",
]

LONGEST_ID = 200  # characters of a key or an entity that the log takes
FUTURE = timedelta(days=1)  # a clock may be a little wrong; a time years ahead would end every window
WRITTEN, LONG = 64, 448  # bytes of a short text as Python holds it, and more of one that may be long
TARGETS = (Category, Number, Series)


@declared
class Ranking:
    """Which ids are ranked for which: a request without the `item` is answered by a list of items for its `user`.

    `liked`: from which value of the target on an item is one that the list should have held.
    """

    user: str
    item: str
    liked: float


@declared
class Schema:
    """Columns by name, and which of them play a role.

    `columns` holds the features and the target. The key, the time and the entity stand beside them: the
    key names a row and is unique; the entity (default: the key) is what rows share when they must not be
    split between training and judging; the time is when the row's fact happened. `ranking`: which column is ranked.
    """

    columns: Mapping[str, Column]
    target: str
    key: str
    time: str | None = None
    entity: str | None = None
    sensitive: tuple[str, ...] = ()
    subject: str | None = None
    ranking: Ranking | None = None

    def __post_init__(self) -> None:
        for name in (self.target, *self.sensitive):
            if name not in self.columns:
                raise BadDeclaration(f"schema has no column {name!r}; {nearest(name, self.columns)}")
        if not isinstance(self.columns[self.target], TARGETS):
            raise BadDeclaration(f"the target {self.target!r} must be a Category, a Number or a Series")
        if getattr(self.columns[self.target], "nullable", False) and isinstance(self.columns[self.target], Series):
            raise BadDeclaration(f"the target {self.target!r} can't have gaps: leave out nullable=True")
        if self.ranking is not None:
            self.check_ranking(self.ranking)
        for name, column in self.features.items():
            if isinstance(column, Anomaly):
                raise BadDeclaration(f"{name!r} is an Anomaly, which only a target can be: make it a Category")
        for name in self.identifiers:
            if name in self.columns:
                raise BadDeclaration(f"{name!r} is a key, entity or time: it stands beside the columns, not in them")

    def check_ranking(self, ranking: Ranking) -> None:
        """Refuse a ranking of what is no Id, of a target that is no number, or without a time that says what is newer.

        Raises: BadDeclaration.
        """
        for name in (ranking.user, ranking.item):
            if not isinstance(self.columns.get(name), Id):
                raise BadDeclaration(f"Ranking(…) needs Id columns, which {name!r} is not")
        if ranking.user == ranking.item or not isinstance(self.columns[self.target], Number) or self.time is None:
            raise BadDeclaration("Ranking(…) needs two Ids, a Number as target, and a time column")
        if taken := {"k", "without"} & self.features.keys():
            raise BadDeclaration(f"where items are ranked no column can be named {taken.pop()!r}: a request says it")

    @property
    def features(self) -> dict[str, Column]:
        """The columns a model may learn from, in declared order."""
        return {name: column for name, column in self.columns.items() if name != self.target}

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Key, entity and time, as far as declared."""
        return tuple(dict.fromkeys(name for name in (self.key, self.entity, self.time) if name is not None))

    @property
    def entity_column(self) -> str:
        """The column whose value decides a row's role."""
        return self.entity or self.key

    @property
    def names(self) -> tuple[str, ...]:
        """Every column a batch has, identifiers first."""
        return (*self.identifiers, *self.columns)

    @property
    def optional(self) -> frozenset[str]:
        """The features that older rows may be without: those that may be null in any row."""
        return frozenset(
            name for name, column in self.features.items() if isinstance(column, Number | Category) and column.nullable
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `schema_from_json` is the inverse."""
        columns = {name: column_to_json(column) for name, column in self.columns.items()}
        roles = ("target", "key", "time", "entity", "sensitive", "subject")
        ranking = {} if self.ranking is None else {"ranking": asdict(self.ranking)}
        return {"columns": columns, **{role: getattr(self, role) for role in roles}, **ranking}


def aliases(schema: Schema) -> dict[str, str]:
    """Return role by key: each identifier under the schema's name, and as id, entity or time where no feature is."""
    entity = None if schema.entity == schema.key else schema.entity
    named = {"key": ("id", schema.key), "entity": ("entity", entity), "time": ("time", schema.time)}
    short = {word: role for role, (word, column) in named.items() if column and word not in schema.features}
    return short | {column: role for role, (_, column) in named.items() if column}


def schema_from_json(stored: Mapping[str, Any]) -> Schema:
    """Read what `Schema.to_json` wrote, or a JSON file of it."""
    columns = {name: column_from_json(column) for name, column in stored["columns"].items()}
    roles = {role: stored[role] for role in ("target", "key", "time", "entity", "subject")}
    ranking = Ranking(**stored["ranking"]) if stored.get("ranking") else None
    return Schema(columns=columns, sensitive=tuple(stored["sensitive"]), ranking=ranking, **roles)


def length(rows: Rows) -> int:
    """Count the rows, N."""
    return len(next(iter(rows.values()))) if rows else 0


def row_bytes(schema: Schema) -> int:
    """Return about how many bytes a row takes in memory, of text what texts usually do."""
    columns = [schema.columns.get(name) for name in schema.names]
    return sum(
        one.nbytes if isinstance(one, ArrayColumn) else 8 if isinstance(one, Number) else WRITTEN for one in columns
    ) + sum(min(one.longest, LONG) for one in columns if isinstance(one, Text))


def take(rows: Rows, which: np.ndarray) -> Rows:
    """Select rows by a boolean mask or by positions."""
    return {name: values[which] for name, values in rows.items()}


def concatenate(parts: list[Rows]) -> Rows:
    """Join parts that have the same columns, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
