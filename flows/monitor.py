"""Judge the windows that are due."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.steps import conclude, step


@flow(name="monitor", flow_run_name="monitor-{project}", persist_result=False)
async def monitor(project: str) -> State[Any]:
    """Give every window that has ended and has no verdict yet its one verdict, oldest first.

    Args:
        project: The project whose traffic is judged.
    """
    from tasks import watching
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings,
        "monitor",
        project,
        lambda: step("watch", lambda: watching.watch(resources, project), retries=1),
    )
