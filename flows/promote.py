"""Make a version serve."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.steps import conclude, person, step

Version = Annotated[str, Field(pattern=r"^\d+$", title="Version", description="The version's number in MLflow.")]


@flow(name="promote", flow_run_name="promote-{project}-{version}", persist_result=False)
async def promote(project: str, version: Version, reason: str = "", waive: tuple[str, ...] = ()) -> State[Any]:
    """Make a judged version the champion, if its gates passed or are waived.

    Args:
        project: The project in which it is to serve.
        version: The version's number in MLflow.
        reason: Why, for the ledger. Needed to waive a gate.
        waive: Names of gates that may fail this once, as the gates table writes them.
    """
    from tasks import promotion
    from tasks.resources import connect

    resources = connect()
    why = reason or ("" if waive else "asked for in Prefect")  # a waiver needs a reason of its own
    return conclude(
        resources.settings,
        "promote",
        project,
        lambda: step(
            "promote",
            lambda: promotion.promote(resources, project, version, actor=person(), reason=why, waive=waive),
        ),
    )
