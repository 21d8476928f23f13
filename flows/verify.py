"""Make a version again, and say whether it is what it is said to be."""

from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.artifacts import progress_bar
from flows.steps import conclude, person, step

if TYPE_CHECKING:
    from tasks.reports import Report
    from tasks.resources import Resources

Which = Annotated[str, Field(pattern=r"^[\w-]{1,60}$", description="A version's number or its alias.")]


@flow(name="verify", flow_run_name="verify-{project}-{version}", persist_result=False)
async def verify(project: str, version: Which = "champion", quick: bool = False) -> State[Any]:
    """Restore data, sources and parameters of a version, train it again apart from everything, and compare.

    Args:
        project: The project that it belongs to.
        version: The version's number in MLflow, or its alias.
        quick: Check hashes only, and train nothing.
    """
    from tasks.resources import connect

    resources = connect()
    return conclude(resources.settings, "verify", project, lambda: verifying(resources, project, version, quick=quick))


def verifying(resources: "Resources", project: str, version: str, *, quick: bool) -> "Report":
    """Verify in one step.

    Raises: DoesNotHold, so that the run fails.
    """
    from tasks.verifying import DoesNotHold
    from tasks.verifying import verify as examine

    def held() -> "Report":
        with progress_bar(resources.settings.prefect_url, "verify", project) as progress:
            found = examine(resources, project, version, quick=quick, progress=progress, actor=person())
        if not found.holds:
            raise DoesNotHold(found.sentence)
        return found.report()

    return step("verify", held)
