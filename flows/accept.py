"""Take a harmless change into the reference."""

from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.approve import Reason
from flows.steps import conclude, person, step

if TYPE_CHECKING:
    from tasks.reports import Report
    from tasks.resources import Resources

Number = Annotated[
    int, Field(ge=1, title="Incident", description="The incident's number, as alerts and the overview name it.")
]


@flow(name="accept", flow_run_name="accept-{project}-{incident}", persist_result=False)
async def accept(project: str, incident: Number, reason: Reason, acceptance: int | None = None) -> State[Any]:
    """Call the change behind an incident harmless: windows are compared with it from now on.

    The champion goes on serving and nothing is trained. The reference gets a revision of its own, made from the
    windows since the change began, thresholds follow from it, and the incident is closed.

    Args:
        project: The project whose incident it is.
        incident: The incident's number, as alerts and the overview name it.
        reason: Why it is harmless. The ledger keeps it.
        acceptance: What a person said on the incident's page. Set by the keeper; people leave it empty.
    """
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings, "accept", project, lambda: taken_in(resources, project, incident, reason, acceptance)
    )


def taken_in(resources: "Resources", project: str, incident: int, reason: str, acceptance: int | None) -> "Report":
    """Accept as one step of the run."""
    from tasks import accepting

    def work() -> "Report":
        if acceptance is not None:
            return accepting.carry_out(resources, acceptance)
        accepting.of_project(resources, incident, project)
        return accepting.accept(resources, incident, reason, person())

    return step("accept", work, retries=2)
