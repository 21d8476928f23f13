"""How a flow runs its steps and how it ends: in a state whose message a person understands.

| what happened | state | message |
|---|---|---|
| done | Completed | the report's sentence |
| nothing to do | Completed | "no batch yet: run ingest/digits" |
| an automation's duplicate | Completed | "intent 3 is already being done by …" |
| another training holds the lease | Failed | "refused: …" |
| the governor withholds a person's run, a schedule's | Failed, Completed | "refused: no training of digits now: …" |
| an expected failure | Failed | its sentence |
| a bug | Failed | its traceback, in the log |
"""

import logging
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.tasks import Task

from data.environment import QUIET
from data.errors import (
    Answered,
    Busy,
    HoldfastError,
    NoBatch,
    NoChampion,
    NothingNew,
    ServerUnavailable,
    SourceUnavailable,
    Withheld,
)
from data.markdown import escaped
from flows.api import run_url
from flows.artifacts import publish
from tasks.reports import Report
from tasks.settings import Settings

logger = logging.getLogger(__name__)

NOTHING_TO_DO = (NoBatch, NoChampion, Answered, NothingNew)
PASSING = (ServerUnavailable, SourceUnavailable)
"""Failures of a network or a server, which a second try may not meet."""


def step(name: str, work: Callable[[], Report], *, retries: int = 0) -> Report:
    """Run `work` as a Prefect task of the current run; `retries` only help against failures of a server.

    "Nothing to do" is raised for the flow to tell, but is no failure of the task.
    """

    def guarded() -> Report | HoldfastError:
        try:
            report = work()
        except NOTHING_TO_DO as nothing:
            return nothing
        logger.info("%s: %s", name, report.sentence)
        return report

    made: Any = task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=[1.0, 5.0, 15.0][:retries] or None,
        retry_condition_fn=passing,
    )(guarded)
    outcome = made()
    if isinstance(outcome, HoldfastError):
        raise outcome
    assert isinstance(outcome, Report)
    return outcome


def passing(_failed: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed step is worth another try."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PASSING)


def conclude(settings: Settings, flow: str, project: str, work: Callable[[], Report]) -> State[Any]:
    """Do the work, show its report on the run's page, and return the state that the run ends in."""
    url = settings.prefect_url
    speak()
    try:
        report = work()
    except NOTHING_TO_DO as nothing:
        publish(url, flow, project, Report(str(nothing), f"Nothing was done: {escaped(nothing)}."))
        return Completed(message=str(nothing))
    except Busy as busy:
        link = {"the training under way": run_url(url, busy.holder)}
        publish(url, flow, project, Report(f"refused: {busy}", "Nothing was changed. Run it again later.", link))
        return Failed(message=f"refused: {busy}")
    except Withheld as withheld:
        publish(url, flow, project, Report(str(withheld), f"Nothing was changed: {escaped(withheld)}."))
        return Completed(message=str(withheld)) if scheduled() else Failed(message=f"refused: {withheld}")
    except HoldfastError as error:
        if already_done(error):
            publish(url, flow, project, Report(str(error), "A promise is kept once: this run had nothing to do."))
            return Completed(message=str(error))
        publish(url, flow, project, Report(f"failed: {error}", f"`{type(error).__name__}`; the run's log tells where."))
        logger.exception("%s/%s failed", flow, project)
        return Failed(message=str(error))
    publish(url, flow, project, report)
    return Completed(message=report.sentence)


def speak() -> None:
    """Let our lines of information into the run's log: Prefect hands on what our loggers let through."""
    for name in QUIET["PREFECT_LOGGING_EXTRA_LOGGERS"].split(","):
        logging.getLogger(name).setLevel(logging.INFO)


def already_done(error: HoldfastError) -> bool:
    """Whether an automation's duplicate found its promise kept; only a training can say so."""
    from tasks.leases import AlreadyDone

    return isinstance(error, AlreadyDone)


def this_run() -> str:
    """Return the id of the flow run, which is the name of the lease's holder."""
    return str(flow_run.id)


def scheduled() -> bool:
    """Whether the flow run was planned by its deployment's schedule, and not asked for by anybody."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.auto_scheduled


def person() -> str:
    """Return who the ledger names: the open-source server knows no users, so the run they started."""
    return f"flow run {flow_run.name}"
