"""`holdfast replay` and `holdfast inject`: rows sent to the running service as its own clients send them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import console
from holdfast.options import FORMATS, HERE, Home, Json, Project, Projects, lead_to

if TYPE_CHECKING:
    from tasks.settings import Settings

app = typer.Typer()
Dial = Annotated[
    float | None, typer.Option("--dial", min=0, max=1, help="How much an injection changes; 0.6 if left out.")
]
MONITOR_SECONDS = 60.0  # that the last run of the monitor is waited for


class Monitoring:
    """Asks Prefect for runs of a project's monitor, one after the other; where it is away, its own schedule goes on."""

    def __init__(self, settings: "Settings", project: str) -> None:
        self.settings, self.deployment, self.project = settings, f"monitor/{project}", project
        self.run: Any = None
        self.away = ""

    def __call__(self) -> None:
        """Ask for a run, if the one before has ended."""
        from data.errors import NoSuchProject, ServerUnavailable
        from flows import client

        if self.away:
            return
        try:
            if self.run is None or client.run_state(self.settings, self.run.id).upper() in {*client.ENDED, "MISSING"}:
                self.run = client.start(self.settings, self.deployment, {"project": self.project})
        except (ServerUnavailable, NoSuchProject) as error:
            self.away = f"no run of the monitor was asked for: {error}"

    def finish(self) -> None:
        """Wait for the run that is under way, and have one more look at everything."""
        from flows import client

        if self.run is None or self.away:
            return
        for _ in range(2):
            client.wait(self.settings, self.run, timeout=MONITOR_SECONDS)
            self()


@app.command()
def replay(
    project: Project,
    speed: Annotated[
        str, typer.Option("--speed", help="History a second, as 30m, 6h or 1d; a plain number is rows a second.")
    ] = "50",
    *,
    change: Annotated[
        str | None, typer.Option("--change", help="What is sent: a change that the project declares, or an injection.")
    ] = None,
    dial: Dial = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=FORMATS, help="From when on, UTC; if left out, all rows that were never ingested."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Where it ends, UTC; the newest row if left out.")
    ] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Send history through the running service as live traffic; labels follow after the project's delay.

    Each row comes with its own key and time. Ctrl-C ends it; the same command goes on where it stopped, and answers
    nothing twice. A project whose labels come later needs a stack started with HOLDFAST_CLOCK=data.
    """
    from dataclasses import asdict

    from tasks.client import Service
    from tasks.replaying import Replay, lined_up, rows_to_send, speed_of

    resources, pace = lead_to(home, folders), speed_of(speed)
    declared, settings = resources.project(project), resources.settings
    starts, ends = ((one.replace(tzinfo=UTC) if one else None) for one in (since, until))
    with console.progress(quiet=as_json) as show:
        show(0.0, "reading history")
        stream = lined_up(resources, declared, rows_to_send(resources, declared, change, dial, starts))
        monitoring = Monitoring(settings, project)
        with Service(settings.service_url, settings.service_key) as service:
            sending = Replay(resources, service, stream)
            try:
                sending.play(pace, ends, monitoring, show)
                monitoring.finish()
            except KeyboardInterrupt:
                show(0.0, "stopping")
    found = sending.summary()
    if as_json:
        console.give_json(asdict(found))
        return
    console.say(
        f"{found.rows:,} rows, {found.known:,} of them answered before; {found.answers:,} answers, {found.labels:,} "
        f"labels, {found.waiting:,} labels to come; {len(found.incidents)} incidents opened"
    )
    console.table(found.incidents)
    if monitoring.away:
        console.say(monitoring.away)
    if not found.finished:
        console.say(f"stopped at {found.reached or 'the start'}: the same command goes on from there")


@app.command()
def inject(
    change: Annotated[
        str, typer.Argument(help="A change that the project declares, or new_cameras, noise, typos, level, gap, unit.")
    ] = "new_cameras",
    *,
    dial: Dial = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows to send.")] = 200,
    labels: Annotated[bool, typer.Option("--labels", help="Also say afterwards what was true.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Send nothing: say whether such a change would be seen.")] = False,
    project: Annotated[str, typer.Option("--project", help="Whose rows.")] = "digits",
    column: Annotated[list[str] | None, typer.Option("--column", help="What changes; else each that can.")] = None,
    size: Annotated[
        float, typer.Option("--size", help="With --dry: sigmas of a number, or share of rows of a category.")
    ] = 0.5,
    home: Home = HERE,
    folders: Projects = None,
) -> None:
    """Send rows to the running service at once, changed in a known way, and see what is noticed.

    `dead_frames` is a fault; all others are changes of the world.
    """
    resources = lead_to(home, folders)
    if dry:
        from tasks.rehearsal import rehearse

        report = rehearse(resources, project, column or [], size)
        console.say(report.sentence)
        console.table(report.table)
        return
    from tasks.injecting import inject as send

    console.say(send(resources, resources.project(project), change, dial, tuple(column or ()), rows, labels=labels))
