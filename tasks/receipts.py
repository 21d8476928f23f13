"""What each decision of the loop was worth, settled once its labels have come: the loop judged by its own receipts.

After a promotion the replaced champion, and after a refusal the refused candidate, answers the rows that were logged
since, beside the version that did answer them; both by the same predictor code. Needs what a training needs, so a
flow does it.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from data.errors import HoldfastError, ServerUnavailable
from data.markdown import escaped
from data.wording import lasting, significant
from models.metrics import BOUNDED
from models.resampling import Interval
from monitoring.records import Generation
from monitoring.store.receipts import Paid, Receipt
from projects.declaration import Project
from tasks import model_cards
from tasks.champions import one_line
from tasks.evaluation import unit
from tasks.hindsight import Owed, measured
from tasks.observing import clock
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

REFUSALS = ("refuse", "keep", "reject", "expire")


@dataclass(frozen=True)
class Account:
    """What a project's loop has been worth. `lines`: one a receipt, oldest first; `waiting`: decisions unsettled."""

    project: str
    sentence: str
    lines: list[dict[str, Any]]
    waiting: int


def account(resources: Resources, project: str) -> Account:
    """Return what the receipts say so far, from the store alone.

    Every training that was promoted or refused counts as a retraining; it paid if its promotion is shown to have.
    """
    every = resources.store.receipts.of(project)
    waiting = len({one.key for one in owing(resources, project)} - {one.key for one in every})
    trained = [one for one in every if one.kind != "rollback"]
    earned = [one for one in trained if one.kind == "promotion"]
    wrong = sum(one.kind == "refusal" and one.paid == "no" for one in every)
    said = [str(earned[-1].detail["sentence"])] if earned else []
    if trained:
        paid = sum(one.paid == "yes" for one in earned)
        said.append(f"{paid} of {len(trained)} retraining{'s' if len(trained) > 1 else ''} paid")
        said.append(f"{wrong or 'no'} refusal{'s were' if wrong > 1 else ' was'} wrong")
    if waiting:
        said.append(f"{waiting} decision{'s wait' if waiting > 1 else ' waits'} for labels")
    return Account(project, "; ".join(said) or "no decision to settle yet", [line(one) for one in every], waiting)


def settle(resources: Resources, name: str, *, agreed: bool = False) -> Report:
    """Write the receipts that are due, each once, however often and by however many this is called.

    A promotion that is shown to have lost is undone or told of; `agreed`: a person says yes to that beforehand. While
    the registry is away, what needs it waits. A version that is gone is said so once, in its receipt.
    """
    project = resources.project(name)
    made, waiting = [], ""
    for owed, (start, end) in due(resources, project):
        try:
            receipt = settled(resources, project, owed, start, end)
        except ServerUnavailable as error:
            waiting = f"; others wait: {one_line(error)}"
            continue
        if resources.store.receipts.put(receipt):
            logger.info("%s: %s", name, receipt.detail["sentence"])
            made.append(receipt)
    from tasks.undoing import undo  # promotes, which the service never does: it reads accounts only

    undone = ""
    try:
        renew_cards(resources, name)
        undone = undo(resources, name, agreed=agreed)
    except ServerUnavailable as error:
        waiting = f"; the rest follows later: {one_line(error)}"
    sentences = [str(one.detail["sentence"]) for one in made] + ([undone] if undone else [])
    page = "### Receipts\n\n" + "\n".join(f"- {escaped(one)}" for one in sentences) if made else ""
    said = "; ".join(sentences) or "no receipt is due"
    return Report(said + waiting, page, table=[line(one) for one in made])


def owing(resources: Resources, name: str) -> list[Owed]:
    """Return every decision that has a receipt or gets one, oldest first: what changed, or kept, a champion."""
    past = resources.store.ledger.generations(name)
    back = resources.store.ledger.rollbacks(name)
    found = [
        Owed("rollback" if new.number in back else "promotion", new.version, old.version, new.at, new, old)
        for old, new in pairwise(past)
        if new.version != old.version
    ]
    found += refusals(resources, name, past)
    return sorted({one.key: one for one in reversed(found)}.values(), key=lambda one: one.decided_at)


def refusals(resources: Resources, name: str, past: list[Generation]) -> Iterator[Owed]:
    """Yield the versions that did not come to serve, beside what served then, oldest first."""
    for decision in reversed(resources.store.ledger.decisions(name, kinds=REFUSALS)):
        word, _, version = decision.subject.partition(" ")
        serving = next((one for one in reversed(past) if one.at <= decision.at), None)
        if word == "version" and serving is not None and serving.version != version:
            yield Owed("refusal", version, serving.version, decision.at, serving)


def due(resources: Resources, project: Project) -> Iterator[tuple[Owed, tuple[datetime, datetime]]]:
    """Yield what is to be settled now, with the first and the last row time that it is settled by.

    A decision is followed until its time is over or another version serves; then its labels get their delay.
    """
    serving = resources.store.ledger.generation(project.name)
    done = {one.key for one in resources.store.receipts.of(project.name)}
    now = clock(resources, project)
    for owed in owing(resources, project.name):
        over = serving is not None and owed.answering.number != serving.number
        if owed.key in done:
            continue
        span = resources.store.receipts.span(project.name, owed.answering.number, owed.decided_at)
        if span is None and over:
            yield owed, (owed.decided_at, owed.decided_at)
        elif span is not None:
            end = span[0] + project.governor.receipt_after
            end = min(end, span[1]) if over else end
            if end + project.labels.delay <= now:
                yield owed, (span[0], end)


def settled(resources: Resources, project: Project, owed: Owed, start: datetime, end: datetime) -> Receipt:
    """Return a decision's receipt; where its worth can't be found out, one that says why.

    Raises: ServerUnavailable.
    """
    common: dict[str, Any] = {
        "metric": project.evaluation.metric,
        "since": start.isoformat(timespec="seconds"),
        "until": end.isoformat(timespec="seconds"),
        "minutes": minutes(resources, project.name, owed.version),
    }
    paid: Paid = "unclear"
    try:
        worth = measured(resources, project, owed, end)
    except ServerUnavailable:
        raise
    except HoldfastError as error:
        why = one_line(error)
        detail = {**common, "why": why, "sentence": f"v{owed.version} can't be settled: {why}"}
    else:
        found = worth.bounds
        better, worse = found.low > 0, found.high < 0
        right, wrong = (worse, better) if owed.kind == "refusal" else (better, worse)
        paid = "yes" if right else "no" if wrong else "unclear"
        detail = {
            **common,
            "amount": difference(found, project.evaluation.metric),
            "gain": found.estimate,
            "low": found.low,
            "high": found.high,
            "rows": found.rows,
            "blocks": found.blocks,
            "unit": unit(project),
            "answered": worth.answered,
            "labelled": worth.labelled,
            "selected": worth.selected,
            "days": (end - start) / timedelta(days=1),
        }
        detail["sentence"] = sentence(owed, found, paid, end - start, detail)
    return Receipt(
        project.name,
        owed.kind,
        owed.version,
        owed.against,
        owed.answering.number,
        owed.decided_at,
        resources.now(),
        paid,
        detail,
    )


def minutes(resources: Resources, name: str, version: str) -> float | None:
    """Return what a version cost: its retraining from start to end, else its training alone; None where unknown."""
    for decision in resources.store.ledger.decisions(name, subject=f"version {version}"):
        number = decision.inputs.get("intent")
        intent = resources.store.intents.get(number) if isinstance(number, int) else None
        if intent is not None and intent.started_at and intent.ended_at:
            return (intent.ended_at - intent.started_at) / timedelta(minutes=1)
    from tasks import registration

    origin = registration.origin(resources, name, version)
    seconds = origin.inputs.get("seconds") if origin else None
    return None if seconds is None else float(seconds) / 60


def sentence(owed: Owed, found: Interval, paid: Paid, lasted: timedelta, detail: dict[str, Any]) -> str:
    """Say what a decision was worth: v7 earned +2.1 ± 0.6 points over keeping v6 for 14 days and cost 3 minutes."""
    amount = detail["amount"]
    cost = "" if detail["minutes"] is None else f" and cost {lasting(timedelta(minutes=detail['minutes']))}"
    on = f", on {found.rows:,} rows" + (", whose labels came for selected rows only" if detail["selected"] else "")
    if owed.kind != "refusal":
        shown = "" if paid != "unclear" else ", which shows no difference"
        said = f"v{owed.version} earned {amount} over keeping v{owed.against} for {lasting(lasted)}"
        return f"{said}{cost if owed.kind == 'promotion' else ''}{on}{shown}"
    held = {"yes": "was right", "no": "was wrong", "unclear": "is neither shown right nor wrong"}[paid]
    return (
        f"refusing v{owed.version} {held}: it would have earned {amount} over v{owed.against} "
        f"in {lasting(lasted)}{cost}{on}"
    )


def difference(found: Interval, metric: str) -> str:
    """Write a difference with half the width of its 90 % interval: +2.1 ± 0.6 points."""
    half = (found.high - found.low) / 2
    if metric in BOUNDED:
        said = f"{found.estimate * 100:+.1f} ± {half * 100:.1f} points" + (
            "" if metric == "accuracy" else f" of {metric}"
        )
    else:
        said = f"{significant(found.estimate, 3, '+')} ± {significant(half, 2)} of {metric} (above 0 is better)"
    return said.replace("-", "\N{MINUS SIGN}")


def line(one: Receipt) -> dict[str, Any]:
    """Return a receipt as a line of a table."""
    keys = ("gain", "low", "high", "rows", "minutes", "selected", "sentence")
    return {
        "decided": one.decided_at.isoformat(timespec="seconds"),
        "kind": one.kind,
        "version": one.version,
        "against": one.against,
        "paid": one.paid,
        **{key: one.detail.get(key) for key in keys},
    }


def renew_cards(resources: Resources, name: str) -> None:
    """Bring receipts that are new onto the cards of their versions; a killed call's are found by the next.

    Raises: ServerUnavailable.
    """
    every, noted = resources.store.receipts.of(name), f"receipts on the cards of {name}"
    known = int(resources.store.notes.get(noted) or 0)
    if known == len(every):
        return
    newest = sorted(every, key=lambda one: one.settled_at)[known:]
    for version in dict.fromkeys(one.version for one in newest):
        try:
            model_cards.refresh(resources, name, version)
        except ServerUnavailable:
            raise
        except HoldfastError as error:  # it was deleted; its receipt stays
            logger.warning("%s: the card of version %s is not renewed: %s", name, version, error)
    resources.store.notes.put(noted, len(every), resources.now())
