"""`holdfast demo`: the whole loop on real images, from an empty folder, told as it happens.

Everything here goes through the faces a user has: deployments are run, requests are sent over HTTP, alerts
arrive at a webhook. Nothing is decided here; the demo only plays the world and waits.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from data.environment import foreign
from holdfast.mailbox import Mailbox, mailbox
from holdfast.story import LoopOpen, Story
from tasks.resources import Resources, connect
from tasks.settings import Settings

if TYPE_CHECKING:
    from tasks.traffic import Cameras

PROJECT = "digits"
WINDOW = 200  # rows, as projects/digits.py declares
DIAL = 0.6
MONITOR = timedelta(seconds=15)  # a demo can't wait for the project's own schedule


def start(home: Path | None) -> None:
    """Run the demo in `home`, or in a folder of its own that is removed afterwards.

    On a terminal the stack stays up until Ctrl-C.

    Raises: LoopOpen, or what a step raised; the folder is kept then.
    """
    console = Console(width=None if sys.stdout.isatty() else 110)
    where = home.absolute() if home else Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    for name in foreign(os.environ):
        del os.environ[name]  # a demo has servers and a store of its own, and pages nobody
    try:
        run(where, console, stay=sys.stdout.isatty())
    except BaseException:
        console.print(f"what happened is in {where}/logs", highlight=False)
        raise
    if home is None:
        shutil.rmtree(where, ignore_errors=True)


def run(home: Path, console: Console, *, stay: bool) -> None:
    """Bring up a stack in `home`, close the loop on it, print the table.

    Raises: LoopOpen, or what a step raised.
    """
    from holdfast import stack

    story = Story(console)
    with mailbox() as box:
        os.environ.update(
            {
                "HOLDFAST_WEBHOOK_URL": box.url,
                "HOLDFAST_WEBHOOK_SECRET": "demo",
                "HOLDFAST_ALERTS_LOOPBACK": "true",
            }
        )
        with ExitStack() as lasting:
            with story.stage("bring up Prefect, MLflow, runner, keeper and service"):
                settings = lasting.enter_context(stack.lent(home, story.say))
            story.say("; ".join(f"{name} {url}" for name, url in addresses(settings).items()))
            play(settings, story, box, console)
            if stay:
                for name, url in addresses(settings).items():
                    console.print(f"{name:8} {url}")
                console.print("\nThe stack stays up; Ctrl-C stops it.")
                wait_for_interrupt()


def wait_for_interrupt() -> None:
    """Return at Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def play(settings: Settings, story: Story, box: Mailbox, console: Console) -> None:
    """Tell the story in its order; each part waits for what the system itself must do."""
    from tasks.traffic import Cameras

    resources = connect(settings)
    with Cameras(settings.service_url) as cameras:
        close_loop(settings, resources, cameras, story, box, console)
    resources.store.close()


def close_loop(
    settings: Settings, resources: Resources, cameras: "Cameras", story: Story, box: Mailbox, console: Console
) -> None:
    """Ingest, train, serve; then the fault, then the change of the world."""
    from flows import client

    client.reschedule(settings, f"monitor/{PROJECT}", MONITOR)
    with story.stage("ingest: dated batches, one with damaged rows"):
        story.say(run_flow(settings, "ingest"))
    with story.stage("train the first champion"):
        story.say(run_flow(settings, "train"))
        story.wait("service with generation 1", lambda: serves(settings, 1), 60)
    accuracies: dict[str, tuple[float, int]] = {}
    with story.stage("healthy traffic"):
        healthy = cameras.send(WINDOW)
        cameras.label(healthy)
        accuracies["before the shift"] = healthy.accuracy()
        story.say(f"{len(healthy.ids)} answers, accuracy {healthy.accuracy()[0]:.3f} on pictures never learned from")
    with story.stage("a fault: one window of dead frames"):
        cameras.send(WINDOW, dead=True)
        fault = story.wait("fault alert", lambda: box.texts("fault"), 90)
        story.say(f"[yellow]alert[/yellow] {fault[0]}")
        mended = cameras.send(WINDOW)
        cameras.label(mended)
        story.wait("recovery after the camera was mended", lambda: not open_incidents(resources), 90)
        if retrainings(resources):
            raise LoopOpen("a fault started a retraining")
        story.say("the camera is mended, the incident closed by itself, nothing was retrained")
    with story.stage("the world changes: a new fleet of cameras"):
        story.say(f"inject new_cameras(dial={DIAL}): blur, contrast, a hidden stripe")
        shifted = [cameras.send(WINDOW, dial=DIAL) for _ in range(3)]
        under = cameras_accuracy(shifted)
        accuracies["under the shift"] = under
        story.say(f"{3 * WINDOW} answers, accuracy {under[0]:.3f}; their labels arrive at /labels")
        for sent in shifted:
            cameras.label(sent)
        drift = story.wait("drift alert", lambda: box.texts("drift") + box.texts("degraded"), 90)
        story.say(f"[yellow]alert[/yellow] {drift[0]}")
    with story.stage("harvest, one retraining, gates, promotion, swap"):
        swap(resources, settings, story)
    with story.stage("after the swap"):
        after = cameras.send(WINDOW, dial=DIAL, only_held_out=True)
        old = cameras.send(WINDOW, only_held_out=True)
        accuracies["after the swap, new cameras"] = after.accuracy()
        accuracies["after the swap, old cameras"] = old.accuracy()
    conclude(story, console, accuracies)
    if not accuracies["after the swap, new cameras"][0] > under[0] + 0.1:
        raise LoopOpen("the new champion is not better on the new cameras")


def swap(resources: Resources, settings: Settings, story: Story) -> None:
    """Keep traffic flowing while the system retrains, and check that the swap loses nothing."""
    from tasks.traffic import Background, Cameras

    with Cameras(settings.service_url, seed=1) as cameras:
        background = Background(cameras, dial=DIAL)
        background.start()
        try:
            story.wait("a retraining", lambda: retrainings(resources), 90)
            story.say("the governor allowed one retraining; Prefect started train/digits")
            story.wait(
                "the swap to generation 2", lambda: serves(settings, 2), 300, lambda: training_step(settings, resources)
            )
            story.wait("an answer of generation 2", lambda: 2 in background.sent.generations, 30)
        finally:
            sent = background.stop()
    story.wait("the end of the retraining", lambda: all(one.ended_at for one in retrainings(resources)), 60)
    if sent.failed:
        raise LoopOpen(f"{sent.failed} rows failed while the service swapped")
    promoted = resources.store.ledger.generation(PROJECT)
    story.say(f"generation 2 serves: {promoted.reason if promoted else ''}")
    story.say(f"{len(sent.ids)} answers meanwhile, none failed, by generations {sorted(sent.generations)}")
    if len(retrainings(resources)) != 1:
        raise LoopOpen(f"{len(retrainings(resources))} retrainings for one incident")


def training_step(settings: Settings, resources: Resources) -> str:
    """Return the step that the retraining is at, for people."""
    from flows import client

    run = next((one.run for one in retrainings(resources) if one.run), None)
    begun = client.steps(settings, run) if run else []
    return f": {begun[-1][0]}" if begun else ": its process starts"


def run_flow(settings: Settings, name: str) -> str:
    """Run a deployment as the UI's button does, and return its closing sentence."""
    from flows import client

    final = client.run(settings, f"{name}/{PROJECT}", {"project": PROJECT}, timeout=180)
    if final.state != "Completed":
        raise LoopOpen(f"{name}/{PROJECT} ended as {final.state}: {final.message}")
    return final.message


def serves(settings: Settings, generation: int) -> bool:
    """Tell whether the service answers with this generation or a later one."""
    import httpx

    try:
        known = httpx.get(f"{settings.service_url}/v1/projects", timeout=5).json()
    except httpx.HTTPError:
        return False
    return any(entry["project"] == PROJECT and (entry.get("generation") or 0) >= generation for entry in known)


def open_incidents(resources: Resources) -> list[Any]:
    """Return the project's open incidents."""
    return list(resources.store.incidents.open_ones(PROJECT))


def retrainings(resources: Resources) -> list[Any]:
    """Return the retrainings the ledger has promised to incidents."""
    return [intent for intent in resources.store.intents.all(PROJECT) if intent.incident_id is not None]


def cameras_accuracy(sents: list[Any]) -> tuple[float, int]:
    """Return the accuracy over several rounds of traffic, on held-out pictures."""
    scores = [sent.accuracy() for sent in sents]
    count = sum(rows for _, rows in scores)
    return sum(score * rows for score, rows in scores) / count, count


def conclude(story: Story, console: Console, accuracies: dict[str, tuple[float, int]]) -> None:
    """Print accuracy and seconds."""
    table = Table(title="digits, on pictures that no training has seen")
    for column in ("", "accuracy", "rows"):
        table.add_column(column, justify="left" if not column else "right")
    for name, (score, rows) in accuracies.items():
        table.add_row(name, f"{score:.3f}", str(rows))
    console.print(table)
    times = Table(title="seconds")
    times.add_column("stage")
    times.add_column("s", justify="right")
    for name, seconds in story.seconds.items():
        times.add_row(name, f"{seconds:.0f}")
    times.add_row("in all, after installation", f"{time.monotonic() - story.started:.0f}")
    console.print(times)


def addresses(settings: Settings) -> dict[str, str]:
    """Return the pages worth opening while it runs."""
    return {
        "Prefect": settings.prefect_url.removesuffix("/api"),
        "MLflow": settings.mlflow_url,
        "service": settings.service_url,
    }
