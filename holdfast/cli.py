"""The command line. Everything heavy is imported inside the commands, so that `--help` answers in half a second."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from data.errors import HoldfastError
from holdfast import (
    alert_commands,
    backtest_command,
    commands,
    console,
    evaluate_command,
    incident_commands,
    model_commands,
    performance_command,
    promotion_commands,
    quarantine_commands,
    receipt_commands,
    service_commands,
    tournament_command,
    traffic_commands,
    trial_commands,
    verify_command,
)
from holdfast.options import HERE, Home, Json, Projects, folders, lead_to

if TYPE_CHECKING:
    from holdfast.record import Stack


class Commands(TyperGroup):
    """Prints an expected failure on one line and exits with 1; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            console.fail(str(error))
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keeps a PyTorch model right after deployment, and proves it.",
)


def tell_version(asked: bool) -> None:
    """Print which Holdfast this is."""
    if asked:
        from importlib.metadata import version

        console.say(version("holdfast"))
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@app.command()
def up(
    home: Home = HERE,
    projects: Projects = None,
    examples: Annotated[
        str | None, typer.Option("--examples", help="Shipped projects to run: names separated by ',', or `all`.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once all is ready; `holdfast down` ends it.")
    ] = False,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Use ports that nothing listens on.")] = False,
) -> None:
    """Start Prefect, MLflow, the runner, the keeper and the service, and keep them running until Ctrl-C."""
    from holdfast import stack as stacks
    from holdfast.record import running
    from tasks.settings import read_settings

    home = home.expanduser().absolute()
    if found := running(home):
        left_out = stacks.left_out(found, examples, folders(projects) if projects else None)
        announce(found, f"the stack of {home} is already up" + ("" if found.ready else ", but not ready yet"))
        for line in left_out:
            console.say(line)
        return
    if detach:
        words = ["--home", str(home), *(["--free-ports"] if free_ports else [])]
        words += [word for folder in projects or [] for word in ("--projects", str(folder))]
        words += [] if examples is None else ["--examples", examples]
        usual = Path(os.environ.get("HOLDFAST_HOME", HERE)).expanduser().absolute()
        at = "" if home == usual else f" --home {home}"
        announce(stacks.detach(words, home, console.say)[0], f"ready; `holdfast down{at}` stops it")
        return
    asked = {"projects": folders(projects) if projects else None, "examples": examples}
    settings = read_settings(home=home, **{name: value for name, value in asked.items() if value is not None})
    settings = stacks.with_free_ports(settings) if free_ports else settings
    console.say(f"starting in {home}")
    try:
        stacks.supervise(settings, console.say, lambda made: announce(made, "ready; Ctrl-C stops it"))
    except stacks.AlreadyUp as error:
        console.say(str(error))


def announce(stack: "Stack", sentence: str) -> None:
    """Print where everything is, and who may ask the service."""
    from holdfast.status import who_may_ask
    from tasks.settings import read_settings

    console.say(sentence)
    for title, url in (
        ("Prefect UI", stack.urls["prefect"]),
        ("MLflow UI", stack.urls["mlflow"]),
        ("Service", stack.urls["service"]),
        ("Its API", f"{stack.urls['service']}/docs"),
    ):
        console.say(f"  {title:12} {url}")
    console.say(f"  {'Keys':12} {who_may_ask(read_settings(home=stack.home))}")
    if os.environ.get("SSH_CONNECTION"):
        tunnels = " ".join(f"-L {port}:127.0.0.1:{port}" for port in stack.ports.values())
        console.say(f"  From your machine: ssh -N {tunnels} {os.uname().nodename}")


@app.command()
def demo(
    home: Annotated[Path | None, typer.Option("--home", help="A folder that is kept; a fresh one if left out.")] = None,
) -> None:
    """Close the whole loop on real images in a fresh home, and show what happened."""
    from holdfast.demo import start

    start(home)


@app.command()
def down(home: Home = HERE) -> None:
    """Stop the stack of this home, and whatever a killed one left behind."""
    from holdfast.stack import down as take_down

    home = home.expanduser().absolute()
    console.say("stopped" if take_down(home, console.say) else f"{home}: nothing is up")


@app.command()
def status(home: Home = HERE, as_json: Json = False) -> None:
    """Show the processes, their addresses, and what serves."""
    from holdfast.status import look, show

    found = look(lead_to(home).settings)
    console.give_json(found) if as_json else show(found)


@app.command()
def doctor(home: Home = HERE, projects: Projects = None, as_json: Json = False) -> None:
    """Check versions, ports, disk, GPU, telemetry and project files, and say how to mend what is wrong."""
    from dataclasses import asdict

    from holdfast.doctor import examine, show

    findings = examine(lead_to(home, projects).settings)
    console.give_json([asdict(one) for one in findings]) if as_json else show(findings)
    if any(one.state == "broken" for one in findings):
        raise typer.Exit(1)


app.add_typer(commands.app)
app.add_typer(quarantine_commands.app, name="quarantine")
app.add_typer(evaluate_command.app)
app.add_typer(verify_command.app)
app.add_typer(backtest_command.app)
app.add_typer(traffic_commands.app)
app.add_typer(promotion_commands.app)
app.add_typer(receipt_commands.app)
app.add_typer(tournament_command.app)
app.add_typer(incident_commands.app)
app.add_typer(performance_command.app)
app.add_typer(alert_commands.alerts, name="alerts")
app.add_typer(service_commands.keys, name="keys")
app.add_typer(model_commands.app, name="models")
app.add_typer(trial_commands.app, name="trial")
