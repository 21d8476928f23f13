"""Answer many rows at once."""

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.artifacts import progress_bar
from flows.steps import conclude, step

if TYPE_CHECKING:
    from tasks.reports import Report


@flow(name="score", flow_run_name="score-{project}", persist_result=False)
async def score(project: str, file: str | None = None) -> State[Any]:
    """Answer rows with the champion, into the prediction log and a Parquet file. No row is answered twice.

    Args:
        project: The project whose champion answers.
        file: A CSV or Parquet file on the runner's machine; left out: the project's own scoring source.
    """
    from pathlib import Path

    from tasks import scoring
    from tasks.resources import connect

    resources = connect()
    url = resources.settings.prefect_url

    def work() -> "Report":
        with progress_bar(url, "score", project) as progress:
            return scoring.score(resources, project, file=Path(file) if file else None, progress=progress)

    return conclude(resources.settings, "score", project, lambda: step("score", work, retries=2))
