"""The commands by which people see incidents and speak to them."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Projects, Reason, actor, lead_to

if TYPE_CHECKING:
    from monitoring.records import Decision, Incident

app = typer.Typer()
Number = Annotated[int, typer.Argument(help="The incident's number, as alerts and the overview name it.")]
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

incidents = typer.Typer(help="What people should know of: open faults, drift, degradation.")
app.add_typer(incidents, name="incidents")


@incidents.callback(invoke_without_command=True)
def open_ones(context: typer.Context, home: Home = HERE, as_json: Json = False) -> None:
    """List the open incidents where nothing else is asked."""
    if context.invoked_subcommand is None:
        incidents_ls(home=home, as_json=as_json)


@incidents.command("ls")
def incidents_ls(
    project: Annotated[str | None, typer.Argument(help="Whose; every project's if left out.")] = None,
    *,
    closed: Annotated[bool, typer.Option("--closed", help="Also the closed ones among the last 50.")] = False,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """List the open incidents, newest first."""
    from dataclasses import asdict

    store = lead_to(home).store.incidents
    found = store.recent(project, 50) if closed else store.open_ones(project)[::-1]
    if as_json:
        console.give_json([asdict(one) for one in found])
        return
    if not found:
        console.say("no incident is open" if not closed else "there was no incident yet")
    console.table([row(one) for one in found])


@incidents.command("show")
def incidents_show(incident: Number, home: Home = HERE, as_json: Json = False) -> None:
    """Show one incident: what, how sure, so what, what was done, and what people said."""
    from dataclasses import asdict

    from data.errors import BadSetting

    resources = lead_to(home)
    found = resources.store.incidents.get(incident)
    if found is None:
        raise BadSetting(f"there is no incident {incident}: `holdfast incidents ls --closed` lists what there was")
    lines = resources.store.ledger.decisions(found.project, subject=f"incident {incident}")[::-1]
    if as_json:
        console.give_json({**asdict(found), "decisions": [asdict(one) for one in lines]})
        return
    tell(found, lines)


def tell(found: "Incident", lines: "list[Decision]") -> None:
    """Print an incident and what was decided about it, oldest first."""
    from data.wording import moment
    from tasks.acting import named, standing

    console.say(f"{named(found)}, {found.severity}, generation {found.generation}")
    said = {"what": found.reason, **found.detail}
    for title, key in (("what", "what"), ("how sure", "how_sure"), ("so what", "so_what"), ("done", "done")):
        console.say(f"{title:9} {said.get(key, '-')}")
    over = f", closed {moment(found.closed_at)}: {found.closed_why}" if found.closed_at else ""
    console.say(f"{'since':9} {moment(found.opened_at)}{over}")
    for words in standing(found):
        console.say(f"{'people':9} {words}")
    console.table([{"at": f"{one.at:%Y-%m-%d %H:%M:%S}", "decision": one.kind, "reason": one.reason} for one in lines])


@app.command()
def acknowledge(incident: Number, reason: Reason = "", *, home: Home = HERE, as_json: Json = False) -> None:
    """Take note of an open incident: it is not told again, and a fault no longer blocks retraining."""
    from tasks.acting import acknowledge as take_note

    console.report(take_note(lead_to(home), incident, actor(), reason), as_json=as_json)


@app.command()
def snooze(
    incident: Number,
    span: Annotated[str, typer.Option("--for", help="How long, as 30m, 12h or 2d; 30 days at most.")],
    *,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Send nothing of an incident for a while; then it is told again, unless it is over or acknowledged."""
    from tasks.acting import snooze as put_off

    resources = lead_to(home)
    console.report(put_off(resources, incident, resources.now() + duration(span), actor()), as_json=as_json)


@app.command()
def fault(incident: Number, reason: Reason, *, home: Home = HERE, as_json: Json = False) -> None:
    """Say that a drift is a broken sensor: no retraining, and no model learns from its windows."""
    from tasks.acting import declare_fault

    console.report(declare_fault(lead_to(home), incident, actor(), reason), as_json=as_json)


@app.command()
def accept(
    incident: Number,
    reason: Reason,
    *,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Call the change behind an incident harmless: windows are compared with it from now on. Needs no server."""
    from tasks.accepting import accept as take_in

    console.report(take_in(lead_to(home, folders), incident, reason, actor()), as_json=as_json)


def duration(text: str) -> timedelta:
    """Read a span as people write it.

    Raises: BadSetting.
    """
    from data.errors import BadSetting

    found = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if found is None:
        raise BadSetting(f"--for {text}: a span is written as 30m, 12h or 2d")
    return int(found[1]) * UNITS[found[2]]


def row(one: "Incident") -> dict[str, Any]:
    """Return an incident as a line of a table."""
    from tasks.acting import standing

    return {
        "incident": one.id,
        "project": one.project,
        "kind": one.kind,
        "severity": one.severity,
        "opened": f"{one.opened_at:%Y-%m-%d %H:%M}",
        "closed": f"{one.closed_at:%Y-%m-%d %H:%M}" if one.closed_at else None,
        "people": "; ".join(standing(one)) or None,
        "reason": one.reason,
    }
