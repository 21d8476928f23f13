"""Bring a home's stack up, keep it up, and take it down."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from data.environment import tool_environment
from data.errors import BadSetting, HoldfastError, ServerUnavailable
from holdfast.processes import Identity, busy, dies_with_parent, end_marked, free_ports, last_lines
from holdfast.record import FILE, Stack, recorded, running
from holdfast.servers import answers, five, make_folders, reachable
from holdfast.supervisor import Supervisor
from tasks.settings import Settings, read_settings

Say = Callable[[str], None]
PORTS = ("prefect", "mlflow", "service")


class AlreadyUp(HoldfastError):
    """A stack of this home runs already; nothing was done to it."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"the stack of {home} is already up")


class NotDown(HoldfastError):
    """The stack would not go."""


def with_free_ports(settings: Settings) -> Settings:
    """Return the settings with ports that nothing listens on."""
    ports = free_ports(len(PORTS))
    return settings.model_copy(update={f"{name}_port": port for name, port in zip(PORTS, ports, strict=True)})


def supervise(settings: Settings, say: Say, on_ready: Callable[[Stack], None]) -> None:
    """Run the stack of a home until SIGINT or SIGTERM.

    Raises:
        AlreadyUp: another supervisor has this home.
        BadSetting: ports are busy; the message names who has them.
        ServerUnavailable: a server that the user runs does not answer.
        ChildFailed: a process would not come up.
    """
    make_folders(settings.home)
    with held(settings.home), stopped_by_signal() as stopped:
        end_leftovers(settings.home, say)
        check_ports(settings)
        check_external(settings)
        supervisor = Supervisor(five(settings), uuid.uuid4().hex, say)
        told = False
        try:
            written: Stack | None = None
            while not stopped():
                supervisor.round()
                stack = describe(settings, supervisor, written)
                if stack != written:
                    stack.write()
                    written = stack
                if stack.ready and not told:
                    told = True
                    on_ready(stack)
                time.sleep(0.1)
            say("stopping")
        finally:
            supervisor.stop()
            (settings.home / FILE).unlink(missing_ok=True)


def left_out(stack: Stack, examples: str | None, folders: str | None) -> list[str]:
    """Say of what is asked of a stack that is up already, and that it does not run, how it comes in.

    None: as the variables of this process say.

    Raises: BadSetting, for a project that is not shipped.
    """
    runs = read_settings(home=stack.home, projects=stack.projects, examples=stack.examples)
    said_here = {name: said for name, said in (("projects", folders), ("examples", examples)) if said is not None}
    asked = read_settings(home=stack.home, **said_here)
    names = sorted(asked.examples_at_work - runs.examples_at_work)
    elsewhere = [str(folder) for folder in asked.project_folders if folder not in runs.project_folders]
    said = [f"not run by it: {', '.join(names)}. `holdfast ingest NAME` brings in each, while the stack is up"]
    other = [f"not looked into by it: {', '.join(elsewhere)}. `holdfast down`, then `holdfast up --projects …` again"]
    return [*(said if names else []), *(other if elsewhere else [])]


def describe(settings: Settings, supervisor: Supervisor, before: Stack | None) -> Stack:
    """Return the stack as it is now."""
    now = {name: one.record() for name, one in supervisor.watched.items()}
    if before is not None:
        return replace(before, ready=supervisor.ready, processes=now)
    return Stack(
        home=str(settings.home),
        mark=supervisor.mark,
        supervisor=Identity.of(os.getpid()),
        started=time.time(),
        ready=supervisor.ready,
        urls={
            "prefect": settings.prefect_url.removesuffix("/api"),
            "prefect_api": settings.prefect_url,
            "mlflow": settings.mlflow_url,
            "service": reachable(settings),
        },
        ports={name: getattr(settings, f"{name}_port") for name in PORTS},
        projects=settings.projects,
        examples=settings.examples,
        clock=settings.clock,
        processes=now,
    )


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Be the only supervisor of a home; the kernel frees a dead one's hold."""
    try:
        with FileLock(str(home / "run" / "up.lock"), timeout=0):
            yield
    except Timeout as error:
        raise AlreadyUp(home) from error


@contextmanager
def stopped_by_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an answer; the next one acts at once."""
    got: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, _frame: object) -> None:
        got.append(number)
        for each in numbers:
            signal.signal(each, before[each])

    for number in numbers:
        signal.signal(number, note)
    try:
        yield lambda: bool(got)
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def end_leftovers(home: Path, say: Say) -> None:
    """End what a killed supervisor and its reaper have left."""
    left = recorded(home)
    if left is not None:
        count = end_marked(left.mark, patience=5)
        if count:
            say(f"ended what an earlier stack left: {count} processes")
        (home / FILE).unlink(missing_ok=True)
    for path in (home / "run").glob("*.ready"):
        path.unlink(missing_ok=True)


def check_ports(settings: Settings) -> None:
    """Refuse to start on ports that others have."""
    wanted = {"service": settings.service_port}
    if not settings.prefect_api_url:
        wanted["prefect"] = settings.prefect_port
    if not settings.mlflow_tracking_uri:
        wanted["mlflow"] = settings.mlflow_port
    if len(set(wanted.values())) < len(wanted):
        raise BadSetting(f"two processes can't share a port: {wanted}")
    if taken := busy(wanted.values()):
        names = {port: name for name, port in wanted.items()}
        said = "; ".join(f"port {one.port} ({names[one.port]}) is held by {one.holder}" for one in taken)
        first = names[taken[0].port].upper()
        raise BadSetting(f"{said}. Stop it, set HOLDFAST_{first}_PORT, or use --free-ports")


def check_external(settings: Settings) -> None:
    """Make sure that servers which the user runs are there."""
    for name, given, health in (
        ("PREFECT_API_URL", settings.prefect_api_url, "health"),
        ("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri, "health"),
    ):
        if given and not any(answers(f"{given.rstrip('/')}/{health}")(0.0) for _ in range(3)):
            raise ServerUnavailable(f"{name}={given} does not answer; unset it to have a server started here")


@contextmanager
def lent(home: Path, say: Say) -> Iterator[Settings]:
    """Have the stack of a home up, on free ports, for as long as the block runs, and lead this process to it.

    Raises: HoldfastError, with the supervisor's own last words.
    """
    home = home.absolute()
    stack, process = detach(["--home", str(home), "--free-ports"], home, say, tied=True)
    try:
        yield enter(stack)
    finally:
        down(home, lambda _text: None)
        process.wait()


def enter(stack: Stack) -> Settings:
    """Set this process's variables for a stack's home and servers, and return its settings."""
    os.environ.update({**tool_environment(Path(stack.home)), **stack.environment})
    return read_settings()


def detach(words: list[str], home: Path, say: Say, *, tied: bool = False) -> "tuple[Stack, subprocess.Popen[bytes]]":
    """Start a supervisor in a session of its own, and return its stack and its process once ready.

    Args:
        words: options of `holdfast up`.
        home: the home they name.
        say: told of each process that is ready.
        tied: the supervisor ends with this process rather than outliving it.

    Raises: HoldfastError, with the supervisor's own last words.
    """
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        offset = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "up", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dies_with_parent() if tied else None,  # noqa: PLW1509 (before any thread of ours)
        )
    told: set[str] = set()
    while process.poll() is None:
        stack = running(home)
        for name, one in stack.processes.items() if stack else ():
            if one["state"] == "ready" and name not in told:
                told.add(name)
                say(f"{name} is ready")
        if stack is not None and stack.ready:
            return stack, process
        time.sleep(0.2)
    raise HoldfastError(last_lines(log, offset, count=1).removeprefix("error: ") or "the supervisor ended at once")


def down(home: Path, say: Say, patience: float = 40.0) -> bool:
    """Stop the stack of a home; return whether there was one.

    Raises: NotDown.
    """
    stack = recorded(home)
    if stack is None:
        return False
    was_there = stack.supervisor.alive
    if was_there:
        with suppress(ProcessLookupError):
            os.kill(stack.supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while stack.supervisor.alive:
            if time.monotonic() > deadline:
                raise NotDown(f"the supervisor (pid {stack.supervisor.pid}) did not end within {patience:.0f} s")
            time.sleep(0.1)
    left = end_marked(stack.mark, patience=5)
    if left:
        say(f"ended what was left: {left} processes")
    (home / FILE).unlink(missing_ok=True)
    return was_there or bool(left)
