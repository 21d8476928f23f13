"""Make a version serve."""

from functools import partial
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from flows.artifacts import publish
from flows.steps import conclude, person, step
from tasks.reports import Report

Version = Annotated[str, Field(pattern=r"^\d+$", title="Version", description="The version's number in MLflow.")]
Waiting = Annotated[str, Field(pattern=r"^\d*$", title="Version")]


def named() -> str:
    """Name a run for what it was asked to do."""
    said = flow_run.parameters
    return "-".join(part for part in ("promote", said["project"], said["version"]) if part)


@flow(name="promote", flow_run_name=named, persist_result=False)
async def promote(
    project: str, version: Waiting = "", reason: str = "", waive: tuple[str, ...] = (), request: int | None = None
) -> State[Any]:
    """Make a version the champion, if its gates passed or are waived.

    One that was never judged against the version that serves is judged anew first; nothing is trained.

    Args:
        project: The project in which it is to serve.
        version: The version's number in MLflow. Left empty: the newest that waits for a person.
        reason: Why, for the ledger. Needed to waive a gate.
        waive: Names of gates that may fail this once, as the gates table writes them.
        request: What somebody asked for in MLflow. Set by the keeper, which answers; people leave it empty.
    """
    from tasks import approving, promoting
    from tasks.resources import connect

    resources = connect()
    why = reason or ("" if waive else "asked for in Prefect")  # a waiver needs a reason of its own

    def answered(id_: int) -> Report:
        judged = step("judge", lambda: promoting.judge_request(resources, id_), retries=1)
        publish(resources.settings.prefect_url, "gates", project, judged)
        return step("promote", lambda: promoting.await_answer(resources, id_, judged))

    def asked() -> Report:
        chosen = version or approving.newest(resources, project)
        return step(
            "promote",
            lambda: promoting.promote(resources, project, chosen, actor=person(), reason=why, waive=waive),
        )

    work = asked if request is None else partial(answered, request)
    return conclude(resources.settings, "promote", project, work)
