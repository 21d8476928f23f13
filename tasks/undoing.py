"""A promotion that is shown to have lost is undone: the version before it serves again, or people are told how.

A receipt compares both versions on every labelled row since the promotion, which is more than any gate had before it.
"""

from functools import partial

from data.errors import HoldfastError, LostRace, ServerUnavailable
from monitoring.records import Generation
from monitoring.store.receipts import Receipt
from tasks import messages, promotion
from tasks.champions import one_line
from tasks.resources import Resources
from tasks.trials import GOVERNOR
from tasks.watching import overview

ACTOR = "receipts"


def undo(resources: Resources, name: str, *, agreed: bool = False) -> str:
    """Roll back from a champion whose receipt says that it lost, or tell people, once; return what was done, if it was.

    Rolled back is what was promoted without a person (`Governor(promote="auto")`), or anything where a person has
    `agreed`; what a person wanted to serve is a person's to take back. Labels that people chose promote nothing by
    themselves, and undo nothing. A killed call's work is done by the next.

    Raises: ServerUnavailable.
    """
    serving = resources.store.ledger.generation(name)
    lost = lost_by(resources, serving) if serving else None
    if serving is None or lost is None:
        return ""
    said, back = str(lost.detail["sentence"]), f"version {lost.against}"
    why = f"to let {back} serve again: `holdfast rollback {name} --to {lost.against} --reason '…'`"
    alert = partial(messages.alerts, resources.settings, name, kind="promotion", links=overview(resources))
    alone = resources.project(name).governor.promote == "auto" and serving.actor == GOVERNOR
    if agreed or alone:
        text = f"{said}; {back} serves again"
        told = alert(key=f"undone-{serving.number}", text=text)
        try:
            promotion.rollback(resources, name, lost.against, actor=ACTOR, reason=said, over=serving, messages=told)
        except LostRace:
            return ""  # another serves meanwhile
        except ServerUnavailable:
            raise
        except HoldfastError as error:
            why = f"{back} can't serve again: {one_line(error)}"
        else:
            return text
    text = f"{said}; {why}"
    return text if resources.store.outbox.put(alert(key=f"lost-{serving.number}", text=text)) else ""


def lost_by(resources: Resources, serving: Generation) -> Receipt | None:
    """Return the receipt that says that what serves has lost against what it replaced."""
    for one in resources.store.receipts.of(serving.project, serving.version):
        if one.kind == "promotion" and one.generation == serving.number and one.paid == "no":
            return None if one.detail.get("selected") else one
    return None
