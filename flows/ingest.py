"""Bring in what a project's source has."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.steps import conclude, step


@flow(name="ingest", flow_run_name="ingest-{project}", persist_result=False)
async def ingest(project: str) -> State[Any]:
    """Validate and version every batch the source has; bad rows go to quarantine, known batches change nothing.

    Args:
        project: The project whose source is read.
    """
    from tasks import ingestion
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings,
        "ingest",
        project,
        lambda: step("ingest", lambda: ingestion.ingest(resources, project), retries=2),
    )
