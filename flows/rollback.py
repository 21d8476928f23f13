"""Make an earlier champion serve again."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.promote import Version
from flows.steps import conclude, person, step


@flow(name="rollback", flow_run_name="rollback-{project}", persist_result=False)
async def rollback(project: str, to: Version | None = None, reason: str = "") -> State[Any]:
    """Make an earlier champion serve again. It is checked for integrity, never judged anew.

    Args:
        project: The project in which it is to serve.
        to: The version's number in MLflow; left out: the previous champion.
        reason: Why, for the ledger.
    """
    from tasks import promotion
    from tasks.resources import connect

    resources = connect()
    return conclude(
        resources.settings,
        "rollback",
        project,
        lambda: step("rollback", lambda: promotion.rollback(resources, project, to, actor=person(), reason=reason)),
    )
