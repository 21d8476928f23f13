"""Answer for or against a version that waits."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.promote import Version
from flows.steps import conclude, person, step

if TYPE_CHECKING:
    from tasks.reports import Report
    from tasks.resources import Resources

Decision = Annotated[
    Literal["approve", "reject"],
    Field(title="Decision", description="approve: the version serves at once. reject: what serves goes on serving."),
]
Reason = Annotated[
    str, Field(min_length=3, pattern=r"\S\s*\S\s*\S", title="Reason", description="Why. The ledger keeps it.")
]


@flow(name="approve", flow_run_name="approve-{project}-{version}", persist_result=False)
async def approve(project: str, version: Version, decision: Decision, reason: Reason) -> State[Any]:
    """Say yes or no to a version that waits for a person.

    Args:
        project: The project in which the version waits.
        version: The version's number in MLflow.
        decision: approve, and the version serves at once; reject, and what serves goes on serving.
        reason: Why. The ledger keeps it.
    """
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings, "approve", project, lambda: answered(resources, project, version, decision, reason)
    )


def answered(resources: "Resources", project: str, version: str, decision: str, reason: str) -> "Report":
    """Give an answer as one step of the run."""
    from tasks import approving

    give = approving.approve if decision == "approve" else approving.reject
    return step(decision, lambda: give(resources, project, version, actor=person(), reason=reason), retries=2)
