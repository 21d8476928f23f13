"""Git for a repository of our own, which no identity, hook, template or ignore file of the user's may touch."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

SETTINGS = {
    "user.name": "holdfast",
    "user.email": "holdfast@localhost",
    "commit.gpgsign": "false",
    "core.hooksPath": os.devnull,
    "core.excludesFile": os.devnull,
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.fsync": "all",
    "gc.autoDetach": "false",
    "safe.directory": "*",
}
HEADS = ("HEAD", "index", "config", "packed-refs", "refs/heads/main")


class GitFailed(Exception):
    """A Git command that should not fail did; its text is the message."""


def git(root: Path, *words: str) -> str:
    """Run one Git command in `root` and return what it printed.

    Raises: GitFailed.
    """
    done = subprocess.run(command(root, words), env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise GitFailed(f"git {words[0]} in {root}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def command(root: Path, words: Sequence[str]) -> list[str]:
    """Spell out a command with our settings laid over every configuration."""
    settings = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
    return ["git", "-C", str(root), *settings, *words]


def environment() -> dict[str, str]:
    """Return this process's environment without the user's Git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    return {**kept, **alone, "LC_ALL": "C"}


def drop_dead_locks(root: Path) -> None:
    """Remove the lock files of a killed Git; only who holds the registry's own lock may call this."""
    for name in HEADS:
        (root / ".git" / f"{name}.lock").unlink(missing_ok=True)
