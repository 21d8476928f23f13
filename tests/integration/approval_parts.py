"""What the tests of questions to people share."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from loop_parts import Orchard, Orchestra, judgement

from models.judging import Outcome
from monitoring.store.approvals import Approval
from tasks import retraining
from tasks.leases import leased
from tasks.reports import Report

Answer = Callable[..., Report]


@pytest.fixture(autouse=True)
def people_decide(orchard: Orchard) -> None:
    orchard.declare(('promote="auto"', 'promote="approve"'))


@pytest.fixture
def orchestra() -> Orchestra:
    return Orchestra()


def ask(orchard: Orchard, verdict: Outcome = "passed", intent: int | None = None) -> str:
    """Register a version, judge it, and let the end of a training ask people about it."""
    version = orchard.register(verdict)
    with leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        run.version, run.judgement = version, judgement(verdict)
        retraining.settle(orchard, run)
    return version


def answer(orchard: Orchard, give: Answer, version: str, reason: str = "I looked at it", actor: str = "ada") -> str:
    return give(orchard, orchard.name, version, actor=actor, reason=reason).sentence


def question(orchard: Orchard, version: str) -> Approval:
    found = orchard.store.approvals.latest(orchard.name, version)
    assert found is not None
    return found


def attend(orchard: Orchard, orchestra: Orchestra, ahead: timedelta = timedelta(0)) -> None:
    """Let a keeper that was started just now look at the questions."""
    orchard.ahead += ahead
    orchestra.keeper(orchard).forms.attend()


def texts(orchard: Orchard) -> list[str]:
    due = orchard.store.outbox.due(orchard.now() + timedelta(days=1), 1000)
    return [str(message.payload["text"]) for message in due if message.payload.get("kind") == "approval"]


def kinds(orchard: Orchard) -> list[str]:
    told = orchard.store.ledger.decisions(orchard.name)
    return [line.kind for line in reversed(told) if line.kind not in ("register", "judge")]


def stage(orchard: Orchard, version: str) -> str:
    return orchard.models.version(orchard.name, version).stage
