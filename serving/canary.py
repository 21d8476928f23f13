"""Rows of one batch, answered by champion and challenger as the trial deals them."""

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from data.schema import take
from monitoring.store.journal import Entry, Logged
from serving.answering import Question, answered, entries
from serving.refusals import Refused
from serving.trials import Challenger
from serving.validation import ReadColumns

if TYPE_CHECKING:
    from serving.generations import Served

log = logging.getLogger(__name__)

Found = list[dict[int, Logged]]
"""For each question, the rows that have an answer, by their place."""


def answer_on_trial(served: "Served", questions: Sequence[Question]) -> list[Entry | Refused]:
    """Answer several requests while a challenger runs: a canary's rows by the challenger, all others by the champion.

    What the challenger fails to answer the champion does, and the failure is counted.
    """
    challenger = served.challenger
    assert challenger is not None
    found: Found = [{} for _ in questions]
    if challenger.mode == "canary":
        found = by_challenger(challenger, questions)
    rest = [[place for place in range(len(q)) if place not in have] for q, have in zip(questions, found, strict=True)]
    asked = [q if len(left) == len(q) else chosen(q, left) for q, left in zip(questions, rest, strict=True)]
    count, started = sum(map(len, asked)), perf_counter()
    try:
        rows = answered(served, asked)
    except Exception:
        if len(asked) == 1:  # else each is asked again alone
            challenger.tally.champion.missed(count)
        raise
    challenger.tally.champion.answered(count, perf_counter() - started)
    challenger.tally.champion.failed += sum(one is None for part in rows for one in part)
    whole = [merged(have, left, part) for have, left, part in zip(found, rest, rows, strict=True)]
    return entries(served, questions, whole)


def by_challenger(challenger: Challenger, questions: Sequence[Question]) -> Found:
    """Answer the canary's rows of each request."""
    places = [[i for i, key in enumerate(keys(challenger, q)) if challenger.takes(key)] for q in questions]
    mine = [i for i, some in enumerate(places) if some]
    answers = tried(challenger, [chosen(questions[i], places[i]) for i in mine])
    found: Found = [{} for _ in questions]
    for i, rows in zip(mine, answers, strict=True):
        found[i] = {place: row for place, row in zip(places[i], rows, strict=True) if row is not None}
    return found


def tried(challenger: Challenger, questions: list[Question]) -> list[list[Logged | None]]:
    """Ask the challenger; None stands for a row that it fails to answer. It is counted."""
    if not questions:
        return []
    count, started = sum(map(len, questions)), perf_counter()
    try:
        rows = answered(challenger.served, questions)
    except Exception:  # the network or a project's feature code may raise anything; the champion answers
        if len(questions) > 1:
            return [one for question in questions for one in tried(challenger, [question])]
        if not challenger.tally.challenger.failed:
            log.exception("trial %d failed to answer", challenger.trial)
        challenger.tally.challenger.missed(count)
        return [[None] * count]
    challenger.tally.challenger.answered(count, perf_counter() - started)
    challenger.tally.challenger.failed += sum(one is None for part in rows for one in part)
    for row in (one for part in rows for one in part if one is not None):
        row.trial, row.version = challenger.trial, challenger.served.version
    return rows


def keys(challenger: Challenger, question: Question) -> list[str]:
    """Return what each row is dealt by: its entity, else its id."""
    if isinstance(question, ReadColumns):
        return [str(one) for one in question.columns[challenger.served.predictor.schema.entity_column].tolist()]
    return [row.entity for row in question]


def chosen(question: Question, places: list[int]) -> Question:
    """Return some of a request's rows."""
    if not isinstance(question, ReadColumns):
        return [question[place] for place in places]
    columns = take(question.columns, np.array(places, dtype=np.int64))
    ids, times = question.ids, question.times
    return ReadColumns([ids[i] for i in places], [times[i] for i in places], columns, question.named)


def merged(have: dict[int, Logged], rest: list[int], rows: list[Logged | None]) -> list[Logged | None]:
    """Return a request's rows in their order."""
    every = {**have, **dict(zip(rest, rows, strict=True))}
    return [every[place] for place in range(len(every))]
