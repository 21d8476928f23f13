"""Judge the windows that are due, and settle what earlier decisions were worth."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.steps import conclude, step

if TYPE_CHECKING:
    from tasks.reports import Report
    from tasks.resources import Resources


@flow(name="monitor", flow_run_name="monitor-{project}", persist_result=False)
async def monitor(project: str) -> State[Any]:
    """Give every window that has ended and has no verdict yet its one verdict, oldest first.

    Then settle, once each, the promotions and refusals whose labels have come since. A promotion that is shown to have
    lost is undone where nobody had to say yes to it, else people are told how.

    Args:
        project: The project whose traffic is judged.
    """
    from tasks.resources import connect

    resources = connect()
    return conclude(resources.settings, "monitor", project, lambda: monitoring(resources, project))


def monitoring(resources: "Resources", project: str) -> "Report":
    """Run the two steps; what they say stands on one page."""
    from tasks import receipts, watching

    watched = step("watch", lambda: watching.watch(resources, project), retries=1)
    settled = step("receipts", lambda: receipts.settle(resources, project), retries=1)
    page = "\n\n".join(part for part in (watched.markdown, settled.markdown) if part)
    return replace(watched, markdown=page)
