"""A request without the item: every item that the version learned is scored, and the best ones are asked about as rows.

So a list is logged, labelled and watched as the rows that it holds: each answer says what the user would rate it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from data.errors import BadRow, nearest
from data.packing import unpack_rows
from data.schema import Schema
from models import lists
from models.transforms import UNSEEN
from monitoring.store.journal import Logged
from serving.answering import Question
from serving.bodies import parsed
from serving.generations import Served
from serving.openapi_schemas import MOST, USUAL
from serving.refusals import Refused
from serving.replies import row_json
from serving.validation import ReadRow, new_id
from serving.values import Unfit, kind

OPTIONS = ("k", "without")


@dataclass(frozen=True)
class Wanted:
    """A list that is asked for: at most so many rows like `row`, which names no item, and none of those left out."""

    row: ReadRow
    most: int
    left_out: list[str]

    def __len__(self) -> int:
        return self.most


def wanted(served: Served, body: bytes) -> Wanted:
    """Read who asks for a list.

    Raises: Refused 400 or 404; BadRow.
    """
    schema, content = served.predictor.schema, parsed(body)
    if schema.ranking is None:
        raise Refused(404, f"{served.project} ranks nothing: ask /v1/{served.project}/predict", "project")
    item = schema.ranking.item
    names = [name for name in schema.features if name != item]
    for name in content.keys() - {*names, *OPTIONS}:
        raise BadRow(name[:80], f"unknown key; {nearest(name[:80], [*names, *OPTIONS])}")
    values = [None if name == item else asked(content, name, check) for name, check in served.reader.checks]
    most, left_out = count_of(content.get("k", USUAL)), names_of(content.get("without", []))
    one = new_id()
    return Wanted(ReadRow(one, one, None, values, named=False), most, left_out)


def as_rows(served: Served, question: Question | Wanted) -> Question:
    """Return what a network is asked: of a list its rows, the best first; none where nothing is left to list.

    Raises: Refused 503.
    """
    if not isinstance(question, Wanted):
        return question
    schema, row = served.predictor.schema, question.row
    assert schema.ranking is not None
    place = list(schema.features).index(schema.ranking.item)
    best = ranked(served, row, question.most, question.left_out)
    return [
        ReadRow(f"{row.id}-{at}", row.id, None, [*row.values[:place], name, *row.values[place + 1 :]], named=False)
        for at, name in enumerate(best, start=1)
    ]


def asked(content: dict[str, Any], name: str, check: Any) -> Any:
    """Return one value of the row.

    Raises: BadRow.
    """
    if name not in content:
        raise BadRow(name, "missing")
    try:
        return check(content[name])
    except Unfit as error:
        raise BadRow(f"{name}{error.within}", error.why) from error


def count_of(said: Any) -> int:
    """Return how many items are wanted.

    Raises: BadRow.
    """
    if type(said) is not int or not 1 <= said <= MOST:
        raise BadRow("k", f"a whole number from 1 to {MOST} expected")
    return said


def names_of(said: Any) -> list[str]:
    """Return the items that are not wanted.

    Raises: BadRow.
    """
    if type(said) is not list or not all(type(one) is str for one in said):
        shown = "other values" if type(said) is list else kind(said)
        raise BadRow("without", f"a list of ids as text expected, not {shown}")
    return said


def ranked(served: Served, row: ReadRow, most: int, left_out: list[str]) -> list[str]:
    """Return the items that come first, but for those that the user has rated and those left out.

    Raises: Refused 503.
    """
    predictor = served.predictor
    encoder, rows = predictor.encoder, served.reader.columns([row])
    found = lists.scores(predictor, rows)
    if np.isnan(found).any():
        raise Refused(503, "the score of an item is not finite", reason="model")
    ranking = predictor.schema.ranking
    assert ranking is not None
    names, table = encoder.levels[ranking.item], encoder.tables[ranking.item]
    known = [table[name] for name in left_out if name in table]
    if predictor.rated is not None:
        known += predictor.rated.by(encoder.tables[ranking.user].get(rows[ranking.user][0], UNSEEN)).tolist()
    best = lists.first(found, np.array(known, dtype=int), most)
    return [names[code - lists.FIRST] for code in best.tolist()]


def list_json(schema: Schema, head: dict[str, Any], rows: list[Logged]) -> bytes:
    """Return the body of an answer: each row of the list with its item; `head`: who answered."""
    assert schema.ranking is not None
    names = unpack_rows(schema, [row.features for row in rows])[schema.ranking.item].tolist()
    each = (
        b"{" + orjson.dumps({schema.ranking.item: name})[1:-1] + b"," + row_json(row, head["generation"])[1:]
        for name, row in zip(names, rows, strict=True)
    )
    return orjson.dumps(head)[:-1] + b',"items":[' + b",".join(each) + b"]}"
