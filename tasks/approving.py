"""A person's yes or no to a version that waits; silence is a no. Of all answers exactly one holds."""

import logging

from data.errors import Answered, BadSetting, Corrupt, LostRace, NoSuchVersion, NotPromotable
from data.wording import moment
from models.judging import hindering
from monitoring.effects import NewDecision
from monitoring.store.approvals import Approval
from tasks import asking, promotion
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

SHORTEST = 3  # characters of a reason
BY_ALIAS = "the alias `champion` was given in MLflow"


def approve(resources: Resources, name: str, version: str, *, actor: str, reason: str) -> Report:
    """Say yes: the version serves, and the gates about which people were asked are waived by name.

    The same answer twice changes nothing and says so.

    Raises:
        Answered: the answer was another one, or silence, or a newer champion made the question void.
        NotPromotable: nobody was asked, or the version can't serve any more.
        BadSetting: there is no reason.
    """
    why = stated(reason)
    approval = asked(resources, name, version)
    if approval.answered_at is not None:
        return before(approval, "approved")
    waive = hindering(asking.asked_gates(resources, approval))
    try:
        return promotion.promote(resources, name, version, actor=actor, reason=why, waive=waive, approval=approval.id)
    except (Answered, LostRace, NotPromotable):
        now = resources.store.approvals.get(approval.id)
        if now is None or now.answered_at is None:
            raise
        return before(now, "approved")
    except NoSuchVersion as error:
        void(resources, approval, actor, str(error))
        raise NotPromotable(f"{error}: it can't serve any more, and nobody is asked about it; train again") from error
    except Corrupt as error:
        mend = "put its files back in MLflow and approve it once more, or reject it and train again"
        raise NotPromotable(f"version {version} of {name} can't serve: {error}; {mend}") from error


def reject(resources: Resources, name: str, version: str, *, actor: str, reason: str) -> Report:
    """Say no: what serves goes on serving. The same answer twice changes nothing and says so.

    Raises: Answered, NotPromotable (nobody was asked), BadSetting (there is no reason).
    """
    why = stated(reason)
    approval = asked(resources, name, version)
    if approval.answered_at is not None:
        return before(approval, "rejected")
    said = f"rejected by {actor}: {why}"
    if not resources.store.approvals.answer(
        approval.id,
        "rejected",
        actor=actor,
        why=why,
        now=resources.now(),
        decision=NewDecision(name, "reject", f"version {version}", said, facts(approval, actor)),
    ):
        return before(asked(resources, name, version), "rejected")
    logger.info("%s: version %s is %s", name, version, said)
    return Report(f"version {version} of {name} is {said}; {stays(approval)}")


def settle_by_alias(resources: Resources, name: str, version: str, actor: str) -> Report | None:
    """Take an alias that a person gave in the registry for a yes; None where nobody was asked.

    Raises: NotPromotable, where somebody said no or a yes needs a reason, and what `approve` raises.
    """
    last = resources.store.approvals.latest(name, version)
    if last is not None and last.answer == "rejected":
        raise NotPromotable(told(last))
    approval = open_question(resources, name, version)
    if approval is None:
        return None
    waived = hindering(asking.asked_gates(resources, approval))
    if waived:
        raise NotPromotable(
            f"a yes to version {version} of {name} waives {', '.join(waived)} and needs a reason: "
            f"holdfast approve {name} {version} --reason '…'"
        )
    return approve(resources, name, version, actor=actor, reason=BY_ALIAS)


def expire(resources: Resources, approval: Approval) -> bool:
    """Take silence for a no, and tell people; return False where an answer came before."""
    about = f"version {approval.version}"
    waited = asking.duration(approval.expires_at - approval.asked_at)
    why = f"nobody answered within {waited}, so it is a no; {stays(approval)}"
    again = f"to let it serve all the same: holdfast promote {approval.project} {approval.version} --reason '…'"
    return resources.store.approvals.answer(
        approval.id,
        "expired",
        actor="nobody",
        why=why,
        now=resources.now(),
        decision=NewDecision(approval.project, "expire", about, why, facts(approval, "nobody")),
        messages=asking.ended(resources, approval, f"{about}: {why}; {again}"),
    )


def void(resources: Resources, approval: Approval, actor: str, why: str) -> bool:
    """Take back a question that no answer can settle."""
    about = f"version {approval.version}"
    decision = NewDecision(approval.project, "void", about, why, facts(approval, actor))
    return resources.store.approvals.answer(
        approval.id, "void", actor=actor, why=why, now=resources.now(), decision=decision
    )


def open_question(resources: Resources, name: str, version: str) -> Approval | None:
    """Return the question about a version that still waits for an answer."""
    found = resources.store.approvals.latest(name, version)
    return found if found and found.answered_at is None and found.expires_at > resources.now() else None


def newest(resources: Resources, name: str) -> str:
    """Return the version that people were asked about last and that waits still, else the challenger.

    Raises: NotPromotable, none waits.
    """
    waiting = resources.store.approvals.open_ones(name)
    found = waiting[-1].version if waiting else resources.models.alias(name, "challenger")
    if found is None:
        raise NotPromotable(f"no version of {name} waits for a person: name the one that is to serve")
    return found


def outcome(resources: Resources, name: str, version: str) -> Report:
    """Say how the last question about a version was answered.

    Raises: NotPromotable, nobody was asked.
    """
    return Report(told(asked(resources, name, version)))


def asked(resources: Resources, name: str, version: str) -> Approval:
    """Return the last question about a version; one whose time is over is answered by that.

    Raises: NotPromotable, NoSuchProject.
    """
    found = resources.store.approvals.latest(name, version)
    if found is None:
        resources.project(name)
        raise NotPromotable(
            f"nobody was asked about version {version} of {name}: `holdfast approvals` lists what waits, "
            f"`holdfast promote {name} {version}` asks nobody"
        )
    if found.answered_at is None and found.expires_at <= resources.now():
        expire(resources, found)
        return resources.store.approvals.get(found.id) or found
    return found


def before(approval: Approval, answer: str) -> Report:
    """Say what was answered before.

    Raises: Answered, where it was something else than `answer`.
    """
    said = told(approval)
    if approval.answer != answer:
        raise Answered(said)
    return Report(f"{said}; nothing is changed")


def told(approval: Approval) -> str:
    """Say how a question was answered, and what may be done all the same."""
    about, name, version = f"version {approval.version} of {approval.project}", approval.project, approval.version
    at = moment(approval.answered_at) if approval.answered_at else "never"
    promote = f"holdfast promote {name} {version} --reason '…'"
    if approval.answer == "void":
        return f"the question about {about} is void since {at}: {approval.why}; to judge it anew: {promote}"
    if approval.answer == "expired":
        return f"{about}: {approval.why}; to let it serve all the same: {promote}"
    said = f"{about} was {approval.answer} by {approval.actor} at {at}: {approval.why}"
    return said if approval.answer == "approved" else f"{said}; to let it serve all the same: {promote}"


def stays(approval: Approval) -> str:
    """Say what a no leaves in place."""
    return f"version {approval.champion} goes on serving" if approval.champion else "nothing serves yet"


def facts(approval: Approval, actor: str) -> dict[str, object]:
    """Return what the ledger keeps beside an answer."""
    return {
        "approval": approval.id,
        "version": approval.version,
        "champion": approval.champion,
        "actor": actor,
        "run": approval.run,
    }


def stated(reason: str) -> str:
    """Return a reason without the space around it.

    Raises: BadSetting.
    """
    said = " ".join(reason.split())
    if len(said) < SHORTEST:
        raise BadSetting("an answer needs a reason, which the ledger keeps: --reason '…'")
    return said
