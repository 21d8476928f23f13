"""Train a version, judge it, and act on the judgement."""

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from flows.artifacts import combined, progress_bar, publish, show_pictures
from flows.steps import conclude, person, scheduled, step, this_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tasks.leases import Run
    from tasks.reports import Report
    from tasks.resources import Resources

Device = Literal["auto", "cpu", "cuda"]


@flow(name="train", flow_run_name="train-{project}", persist_result=False)
async def train(project: str, device: Device = "auto", intent: int | None = None) -> State[Any]:
    """Train on the newest snapshot, register and judge the candidate, then promote, keep or refuse it.

    One training a project at a time: a second one is refused with the reason.

    Args:
        project: The project to train.
        device: Where to train. "auto" takes a GPU where there is one.
        intent: The ledger's promise that this run keeps. Set by automations; people leave it empty.
    """
    from tasks.resources import connect

    resources = connect()
    chosen = resources.settings.device if device == "auto" else device
    return conclude(
        resources.settings, "train", project, lambda: training(resources, project, device=chosen, intent=intent)
    )


def training(resources: "Resources", project: str, *, device: Device, intent: int | None) -> "Report":
    """Run the steps in their order under the project's lease."""
    from tasks import retraining

    url = resources.settings.prefect_url
    reports: dict[str, Report] = {}
    with promised(resources, project, intent) as run:

        def shown(work: "Callable[[Callable[[float, str], None]], Report]") -> "Report":
            with progress_bar(url, "train", project) as progress:
                return work(progress)

        reports["collect"] = step("collect", lambda: retraining.collect(resources, run), retries=2)
        if run.project.training.tournament:
            reports["tournament"] = step(
                "tournament", lambda: shown(partial(retraining.compete, resources, run, device))
            )
        reports["prepare"] = step("prepare", lambda: shown(partial(retraining.prepare, resources, run)), retries=1)
        reports["fit"] = step("fit", lambda: shown(partial(retraining.fit, resources, run, device)))
        reports["evaluate"] = step("evaluate", lambda: retraining.evaluate(resources, run))
        reports["register"] = step("register", lambda: retraining.register(resources, run), retries=2)
        show_pictures(url, "train", project, run.folder)
        reports["judge"] = step("judge", lambda: retraining.judge(resources, run))
        publish(url, "gates", project, reports["judge"])  # before anything is done about them
        reports["settle"] = step("settle", lambda: retraining.settle(resources, run))
    return combined(reports)


def promised(resources: "Resources", project: str, intent: int | None) -> "AbstractContextManager[Run]":
    """Return the run of an intent; one that a person or a schedule started is promised first."""
    from tasks import leases, person_runs

    if intent is None and not scheduled():
        return person_runs.by_hand(resources, project, actor=person(), holder=this_run())
    if intent is None:
        intent = person_runs.begin(resources, project, f"the schedule of train/{project}", asker="schedule")
    return leases.leased(resources, project, holder=this_run(), intent=intent)
