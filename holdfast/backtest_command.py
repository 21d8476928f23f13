"""`holdfast backtest`: replay history through the monitor and the governor, and compare with the calendar."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast import console
from holdfast.options import FORMATS, HERE, Home, Json, Project, Projects, lead_to

app = typer.Typer()


@app.command()
def backtest(
    project: Project,
    since: Annotated[
        datetime, typer.Option(formats=FORMATS, help="Where the replay begins, UTC; what was known by then trains.")
    ],
    *,
    until: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Where it ends, UTC; the newest row if left out.")
    ] = None,
    change: Annotated[
        str | None, typer.Option(help="A change that the project declares: its rows are replayed after the history.")
    ] = None,
    calendar: Annotated[int, typer.Option(min=1, help="Days from one retraining by the calendar to the next.")] = 7,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="A policy to try, or `all`; may be repeated. As declared if left out."),
    ] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Replay the project's history as if live, and compare it with retraining never, by the calendar and always.

    Reads the home's accepted batches and labelled traffic (where nothing was ingested, the source), and writes nothing
    there but the page it ends with: the replay has a store and a clock of its own, in a temporary folder. Policies are
    chosen on the first two thirds. Where the calendar waits for four windows or more, `always` (each window) is left
    out.
    """
    from tasks import backtest_report as report
    from tasks.backtest_policies import DECLARED, named
    from tasks.backtest_stream import history
    from tasks.backtesting import backtest as run

    resources = lead_to(home, folders)
    policies = named(tuple(policy or (DECLARED,)))
    declared = resources.project(project)
    with console.progress(quiet=as_json) as show:
        show(0.0, "reading history")
        result = run(
            resources.settings,
            history(resources, declared, change),
            resources.project_file(project),
            policies,
            since=since.replace(tzinfo=UTC),
            until=until.replace(tzinfo=UTC) if until else None,
            week=timedelta(days=calendar),
            progress=show,
        )
    found = report.facts(result)
    path = report.write(result, found, resources.settings.home, resources.now())
    if as_json:
        console.give_json({**found, "page": str(path)})
        return
    console.say(found["sentence"])
    console.table(found["arms"])
    if len(found["policies"]) > 1:
        console.table(found["policies"])
    if found["retrainings"]:
        shown = ("at", "why", "outcome", "rows", "seconds", "sentence")
        console.table([{name: one[name] for name in shown} for one in found["retrainings"]])
    console.table(found["incidents"])
    console.say("verdicts: " + ", ".join(f"{rows} {what}" for what, rows in sorted(found["outcomes"].items())))
    console.say(f"page: {path}")
