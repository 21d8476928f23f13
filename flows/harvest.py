"""Turn labelled traffic into a batch."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.steps import conclude, step


@flow(name="harvest", flow_run_name="harvest-{project}", persist_result=False)
async def harvest(project: str) -> State[Any]:
    """Land what the service saw and people labelled since the last harvest as a batch; faulty windows are left out.

    Args:
        project: The project whose labelled traffic is landed.
    """
    from tasks import harvesting
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings,
        "harvest",
        project,
        lambda: step("harvest", lambda: harvesting.harvest(resources, project), retries=2),
    )
