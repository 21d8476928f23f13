"""The commands by which people look after alerts: what waits, what nobody took, and whether a way works."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, lead_to

if TYPE_CHECKING:
    from monitoring.records import Message

alerts = typer.Typer(no_args_is_help=True, help="The messages about incidents, and the ways by which they go out.")


@alerts.command("ls")
def alerts_ls(
    parked: Annotated[bool, typer.Option("--parked", help="Only those that nobody took for a day.")] = False,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """List the messages that wait to be sent, and those that nobody took."""
    outbox = lead_to(home).store.outbox
    rows = [message_row(one, "parked", why) for one, why in outbox.parked()]
    if not parked:
        rows += [message_row(one, "waits", why) for one, why in outbox.waiting()]
    if not rows and not as_json:
        console.say("nothing is parked" if parked else "nothing waits")
    console.give_json(rows) if as_json else console.table(rows)


def message_row(one: "Message", state: str, why: str) -> dict[str, Any]:
    """Return a message as a line of a table."""
    return {
        "id": one.id,
        "channel": one.channel,
        "state": state,
        "since": f"{one.created_at:%Y-%m-%d %H:%M}",
        "attempts": one.attempts,
        "error": why or None,
    }


@alerts.command("retry")
def alerts_retry(
    message: Annotated[str | None, typer.Argument(help="The id of a parked message, as `ls` shows it.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every parked message.")] = False,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Let parked messages be sent again, for another day."""
    from data.errors import BadSetting

    resources = lead_to(home)
    parked = [one.id for one, _ in resources.store.outbox.parked()]
    chosen = parked if everything else [one for one in parked if one == message]
    if not chosen and not everything:
        raise BadSetting(
            f"no message {message!r} is parked: `holdfast alerts ls --parked` lists them, --all means each"
        )
    for one in chosen:
        resources.store.outbox.unpark(one, resources.now())
    console.give_json(chosen) if as_json else console.say(f"{len(chosen)} messages are sent again by the keeper")


@alerts.command("test")
def alerts_test(home: Home = HERE, as_json: Json = False) -> None:
    """Send a test message to each channel now, and say which took it."""
    from tasks.messages import try_out

    found = try_out(lead_to(home).settings)
    rows = [{"channel": channel, "took it": not why, "why": why or None} for channel, why in found.items()]
    console.give_json(rows) if as_json else console.table(rows)
    if any(found.values()):
        raise typer.Exit(1)
