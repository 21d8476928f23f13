"""From validated rows to what the log keeps and the client is told: predicted, packed, written as JSON once."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import orjson

from data.packing import pack_all
from data.schema import take
from models.outputs import Outputs
from monitoring.store.journal import Entry, Logged
from serving.refusals import Refused
from serving.validation import ReadColumns, ReadRow

if TYPE_CHECKING:
    from serving.generations import Served

CHUNK_ROWS = 64  # given to the network at once, whatever the request's size

Question = list[ReadRow] | ReadColumns
"""One request's rows, validated."""


def answer(served: "Served", questions: Sequence[Question]) -> list[Entry | Refused]:
    """Answer several requests, those that came row by row together; one whose output isn't finite is refused."""
    return entries(served, questions, answered(served, questions))


def answered(served: "Served", questions: Sequence[Question]) -> list[list[Logged | None]]:
    """Return each request's rows; None stands for one whose output isn't finite."""
    loose = [row for question in questions if isinstance(question, list) for row in question]
    chunks = (loose[start : start + CHUNK_ROWS] for start in range(0, len(loose), CHUNK_ROWS))
    together = iter([one for chunk in chunks for one in rows_answered(served, chunk)])
    return [
        list(islice(together, len(question)) if isinstance(question, list) else columns_answered(served, question))
        for question in questions
    ]


def entries(
    served: "Served", questions: Sequence[Question], answers: Iterable[list[Logged | None]]
) -> list[Entry | Refused]:
    """Return what is to be logged of each request."""
    at = datetime.now(UTC)
    return [
        entry(served, at, rows, named=is_named(question)) for question, rows in zip(questions, answers, strict=True)
    ]


def is_named(question: Question) -> bool:
    """Whether a client has chosen an id."""
    return any(row.named for row in question) if isinstance(question, list) else question.named


def entry(served: "Served", at: datetime, rows: list[Logged | None], *, named: bool) -> Entry | Refused:
    """Return what is to be logged, unless a row has no finite output."""
    whole = [row for row in rows if row is not None]
    if len(whole) < len(rows):
        why = f"generation {served.generation} gave a non-finite output; nothing was logged"
        return Refused(503, why, f"rows[{rows.index(None)}]", reason="model")
    return Entry(served.project, served.generation, at, whole, named)


def rows_answered(served: "Served", rows: list[ReadRow]) -> list[Logged | None]:
    """Answer a chunk of rows."""
    predictor, generation = served.predictor, served.generation
    if predictor.encoder.features is None:
        outputs = predictor.predict_lists([row.values for row in rows])
        pack = served.packer.pack
        packed = [pack(row.id, row.entity, row.time, row.values) for row in rows]
    else:  # a project's own code takes columns
        columns = served.reader.columns(rows)
        outputs, packed = predictor.predict(columns), pack_all(predictor.schema, columns)
    return [
        Logged(row.id, features, output, generation, row.time) if output else None
        for row, features, output in zip(rows, packed, written(outputs), strict=True)
    ]


def columns_answered(served: "Served", asked: ReadColumns) -> Iterable[Logged | None]:
    """Answer rows that came as columns, a chunk at a time."""
    for start in range(0, len(asked), CHUNK_ROWS):
        which = np.arange(start, min(start + CHUNK_ROWS, len(asked)))
        columns = take(asked.columns, which)
        outputs, packed = served.predictor.predict(columns), pack_all(served.predictor.schema, columns)
        for place, features, output in zip(which.tolist(), packed, written(outputs), strict=True):
            time = asked.times[place]
            yield Logged(asked.ids[place], features, output, served.generation, time) if output else None


def written(outputs: Outputs) -> list[bytes]:
    """Return each answer as JSON, empty where it isn't finite."""
    finite = outputs.finite.tolist()
    return [orjson.dumps(one) if ok else b"" for one, ok in zip(outputs.answers(), finite, strict=True)]
