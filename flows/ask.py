"""Ask people whether a version may serve, and wait for the answer without a process."""

import logging
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run

from data.markdown import escaped
from flows.approve import Decision, Reason, answered
from flows.artifacts import publish
from flows.promote import Version
from flows.steps import conclude

if TYPE_CHECKING:
    from monitoring.store.approvals import Approval
    from tasks.resources import Resources


class Answer(RunInput):
    """The form on the page of a run that waits."""

    decision: Decision
    reason: Reason


@flow(name="ask", flow_run_name="ask-{project}-{version}", persist_result=False)
async def ask(project: str, version: Version) -> State[Any]:
    """Show a version that passed its gates to people, wait for a yes or no, and act on it.

    It starts by itself for every version that waits, and is suspended meanwhile: it may take days and holds nothing.

    Args:
        project: The project in which the version waits.
        version: The version's number in MLflow.
    """
    from tasks import approving
    from tasks.resources import connect

    resources = connect()
    approval = approving.open_question(resources, project, version)
    if approval is None:
        return conclude(resources.settings, "ask", project, lambda: approving.outcome(resources, project, version))
    logging.getLogger("prefect.flow_runs").addFilter(unalarming)
    form = Answer.with_initial_data(description=shown(resources, approval))
    answer = await asuspend_flow_run(form, key=f"approval-{approval.id}")  # ends the process; then all is run again
    return conclude(
        resources.settings,
        "ask",
        project,
        lambda: answered(resources, project, version, answer.decision, answer.reason),
    )


def shown(resources: "Resources", approval: "Approval") -> str:
    """Show on the run's page what is asked, once, and return what stands above the form."""
    from tasks import asking

    page = asking.page(resources, approval)
    if flow_run.run_count == 1:
        publish(resources.settings.prefect_url, "ask", approval.project, page)
    links = [f"[{title}]({url})" for title, url in page.links.items()]
    return "\n\n".join([escaped(page.sentence), page.markdown, *links])


def unalarming(record: logging.LogRecord) -> bool:
    """Keep back Prefect's line by which a run that suspends itself looks like an error."""
    return not (record.levelno == logging.ERROR and "Suspended(type=PAUSED)" in record.getMessage())
