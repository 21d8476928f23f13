"""Is this machine fit, and what to do where it isn't. Each check is a function of the settings."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import psutil

from data.environment import QUIET, child_environment
from data.errors import BadSetting, HoldfastError
from holdfast.console import on_terminal, say
from holdfast.record import recorded, running
from tasks.settings import CLONE, Settings

GIGABYTE = 1e9
REMOTE_DISKS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"}


@dataclass(frozen=True)
class Finding:
    """What one check saw. `mend` says what to do, when there is something to do."""

    check: str
    state: Literal["ok", "warning", "broken"]
    sentence: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check(settings)]


def python(_settings: Settings) -> Iterator[Finding]:
    """Python itself, and Git."""
    version = ".".join(map(str, sys.version_info[:3]))
    fit = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Finding("python", "ok" if fit else "broken", version, "" if fit else "use Python 3.11, 3.12 or 3.13")
    git = shutil.which("git")
    if git is None:
        yield Finding("git", "broken", "not found", "install git; batches are versioned with it")
        return
    said = subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    old = found is None or (int(found[1]), int(found[2])) < (2, 28)
    yield Finding("git", "broken" if old else "ok", said.strip(), "install git 2.28 or newer" if old else "")


def versions(_settings: Settings) -> Iterator[Finding]:
    """What is installed, against the lock, else against pyproject's pins."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lock = CLONE / "requirements.lock"
    lines = locked_lines(lock) if lock.exists() else (importlib.metadata.requires("holdfast") or [])
    wrong = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = Version(importlib.metadata.version(requirement.name))
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found.public, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, wanted {requirement.specifier}")
    where = lock.name if lock.exists() else "pyproject.toml"
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        yield Finding(
            "versions", "broken", "; ".join(wrong[:5]) + more, f"run `make install`, or pip install -r {where}"
        )
    else:
        yield Finding("versions", "ok", f"{len(lines)} packages as {where} says")


def locked_lines(lock: Path) -> list[str]:
    """Return the requirements of a lock file, without hashes and options."""
    found = (line.split(" --hash")[0].rstrip("\\").strip() for line in lock.read_text().splitlines())
    return [line.split(" #")[0] for line in found if re.match(r"[A-Za-z0-9]", line)]


def ports(settings: Settings) -> Iterator[Finding]:
    """Whether a stack could start here, or does run."""
    from holdfast.stack import check_ports

    stack = running(settings.home)
    if stack is not None:
        held = ", ".join(f"{name} {port}" for name, port in stack.ports.items())
        yield Finding("ports", "ok", f"this home's own stack has {held}")
        return
    try:
        check_ports(settings)
    except BadSetting as error:
        said, _, mend = str(error).partition(". ")
        yield Finding("ports", "broken", said, mend)
    else:
        wanted = (settings.prefect_port, settings.mlflow_port, settings.service_port)
        yield Finding("ports", "ok", f"free: {', '.join(map(str, wanted))}")


def leftovers(settings: Settings) -> Iterator[Finding]:
    """Processes of a stack whose supervisor is gone."""
    from holdfast.processes import marked

    left = recorded(settings.home)
    if left is not None and not left.supervisor.alive and (found := marked(left.mark)):
        pids = ", ".join(str(process.pid) for process in found)
        yield Finding("leftovers", "broken", f"a dead stack left processes {pids}", "run `holdfast down`")


def disk(settings: Settings) -> Iterator[Finding]:
    """Room, kind of disk, right to write, and what a durable write costs."""
    standing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    room = shutil.disk_usage(standing).free / GIGABYTE
    state: Literal["ok", "warning", "broken"] = "ok" if room > 10 else "warning" if room > 2 else "broken"
    yield Finding("disk", state, f"{room:.0f} GB free at {standing}", "" if state == "ok" else "free some room")
    kind = disk_kind(standing)
    if kind in REMOTE_DISKS:
        yield Finding("disk", "warning", f"{standing} is on {kind}", "put the home on a local disk: SQLite locks files")
    elif kind in {"tmpfs", "ramfs"}:
        yield Finding("disk", "warning", f"{standing} is in memory", "put the home on a disk, or lose it at a restart")
    try:
        cost = fsync_seconds(standing)
    except OSError as error:
        yield Finding("write access", "broken", f"{standing}: {error.strerror}", "choose another home with --home")
        return
    yield Finding("write access", "ok", str(standing))
    slow = cost > 0.02
    mend = "every answer waits for its log: use a faster disk" if slow else ""
    yield Finding("fsync", "warning" if slow else "ok", f"{cost * 1000:.2f} ms a durable write", mend)


def disk_kind(path: Path) -> str:
    """Return the type of the file system that holds a path."""
    mounts = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""


def fsync_seconds(folder: Path) -> float:
    """Return the median time of a small durable write."""
    probe = folder / f".holdfast-doctor-{os.getpid()}"
    times = []
    try:
        with probe.open("wb") as file:
            for _ in range(15):
                begun = time.perf_counter()
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - begun)
    finally:
        probe.unlink(missing_ok=True)
    return median(times)


def store(settings: Settings) -> Iterator[Finding]:
    """Whether the store can be reached, is of this release, and keeps what it acknowledges."""
    from monitoring.store.health import examine as look
    from monitoring.store.schema import NEWEST

    try:
        found = look(settings.store_url)
    except HoldfastError as error:
        yield Finding("store", "broken", str(error), "mend HOLDFAST_DATABASE_URL, or start the server that it names")
        return
    made = "none yet" if found.schema is None else f"schema {found.schema}"
    older = found.schema is not None and found.schema != NEWEST
    yield Finding("store", "ok", f"{made} at {found.place}" + (f", will be brought to {NEWEST}" if older else ""))
    if found.risks:
        said = f"the server runs with {', '.join(found.risks)} off, and may lose what it has acknowledged"
        yield Finding("store", "warning", said, "turn them on in postgresql.conf")


def gpu(settings: Settings) -> Iterator[Finding]:
    """A GPU, and a torch that can use it."""
    tool = shutil.which("nvidia-smi")
    words = [tool or "", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() if tool else ""
    build = torch_cuda()
    if not said:
        needed = settings.device == "cuda"
        mend = "unset HOLDFAST_DEVICE, or mend the driver" if needed else ""
        yield Finding("gpu", "broken" if needed else "ok", "none; training runs on the CPU", mend)
    elif build is None:
        yield Finding("gpu", "warning", f"{said}, but torch is built for the CPU", "install the CUDA build of torch")
    else:
        yield Finding("gpu", "ok", f"{said.replace(chr(10), '; ')}; torch for CUDA {build}")


def torch_cuda() -> str | None:
    """Return the CUDA version torch was built for, without importing it."""
    with suppress(importlib.metadata.PackageNotFoundError, OSError):
        text = Path(str(importlib.metadata.distribution("torch").locate_file("torch/version.py"))).read_text()
        found = re.search(r"^cuda\b.*?=\s*'([\d.]+)'", text, re.MULTILINE)
        return found[1] if found else None
    return None


def telemetry(settings: Settings) -> Iterator[Finding]:
    """Whether the tools stay silent: in the running processes, else in what they would be given."""
    stack = running(settings.home)
    environments = {"the variables of a stack": child_environment(settings.home)}
    for name, one in stack.processes.items() if stack else ():
        with suppress(psutil.Error, TypeError):
            environments[name] = psutil.Process(one["pid"]).environ()
    loud = [
        f"{where} lacks {name}"
        for where, found in environments.items()
        for name, value in QUIET.items()
        if found.get(name) != value
    ]
    mend = "restart the stack with `holdfast down` and `holdfast up`" if loud else ""
    where = f"{len(environments) - 1} running processes" if stack else "what a stack is given"
    yield Finding("telemetry", "broken" if loud else "ok", "; ".join(loud[:3]) or f"off in {where}", mend)


def project_files(settings: Settings) -> Iterator[Finding]:
    """Whether every project file can be imported."""
    from projects.discovery import load_all

    loaded, failed = load_all(settings.project_folders, settings.examples_at_work)
    for error in failed.values():
        yield Finding("project", "broken", str(error), "mend the line it names, then `holdfast check`")
    yield Finding("projects", "ok", ", ".join(sorted(loaded)) or "none")


def alerts(settings: Settings) -> Iterator[Finding]:
    """Whether alerts have a way to people, as far as can be told without sending one."""
    from monitoring.alerts import unreadable
    from tasks.messages import channels

    if bool(settings.smtp_url) != bool(settings.email_to):
        mend = "set HOLDFAST_SMTP_URL and HOLDFAST_EMAIL_TO, or neither"
        yield Finding("alerts", "broken", "e-mail is half set up", mend)
    wrong = ", ".join(str(number) for number in unreadable(settings.alert_urls))
    if wrong:
        mend = "see the pages of Apprise on how such an address reads, then `holdfast alerts test`"
        yield Finding("alerts", "broken", f"Apprise can't read address {wrong} of HOLDFAST_ALERT_URLS", mend)
    ways = ", ".join(name for name in channels(settings) if name != "log")
    nobody = "go to the log only; HOLDFAST_WEBHOOK_URL, _SMTP_URL and _ALERT_URLS bring them to people"
    yield Finding("alerts", "ok", f"go to {ways}; `holdfast alerts test` tries them" if ways else nobody)


def edits(settings: Settings) -> Iterator[Finding]:
    """Schedules and automations that people changed in Prefect; they are kept."""
    if running(settings.home) is None and not settings.prefect_api_url:
        return
    from flows.deployments import differences

    try:
        found = differences(settings)
    except HoldfastError as error:
        yield Finding("prefect", "broken", str(error), "see `holdfast status` and the log of the Prefect server")
        return
    for line in found:
        yield Finding("edited in Prefect", "ok", line)


CHECKS: list[Callable[[Settings], Iterator[Finding]]] = [
    python,
    versions,
    ports,
    leftovers,
    disk,
    store,
    gpu,
    telemetry,
    project_files,
    alerts,
    edits,
]


def show(findings: list[Finding]) -> None:
    """Print findings, each with how to mend it."""
    signs = {"ok": "ok     ", "warning": "warning", "broken": "BROKEN "}
    if on_terminal():
        from rich.console import Console
        from rich.markup import escape

        colours = {"ok": "green", "warning": "yellow", "broken": "bold red"}
        console = Console(soft_wrap=True, highlight=False)
        for one in findings:
            mend = f"  [dim]→ {escape(one.mend)}[/dim]" if one.mend else ""
            sign = f"[{colours[one.state]}]{signs[one.state]}[/]"
            console.print(f"{sign} {one.check:18} {escape(one.sentence)}{mend}")
        return
    for one in findings:
        say(f"{signs[one.state]} {one.check:18} {one.sentence}" + (f"  -> {one.mend}" if one.mend else ""))
