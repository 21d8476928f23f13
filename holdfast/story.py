"""What happens, told with its seconds: the stages of a demo, and what it waits for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from data.errors import HoldfastError


class LoopOpen(HoldfastError):
    """The loop did not close; the message says which step was waited for in vain."""


@dataclass
class Story:
    """What has happened so far: seconds of each stage, accuracies, and where to tell it."""

    console: Console
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Time one stage and say its title."""
        self.say(f"[bold]{title}[/bold]")
        begun = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - begun

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self.console.print(f"[dim]{time.monotonic() - self.started:5.0f} s[/dim]  {text}", highlight=False)

    def wait(
        self, what: str, claim: Callable[[], Any], seconds: float, progress: Callable[[], str] = lambda: ""
    ) -> Any:
        """Wait until `claim` gives something; say what is waited for, and how far it is by `progress`.

        Raises: LoopOpen.
        """
        end = time.monotonic() + seconds
        shown = time.monotonic()
        while True:
            found = claim()
            if found:
                return found
            if time.monotonic() > end:
                raise LoopOpen(f"the loop did not close: no {what} within {seconds:.0f} s")
            if time.monotonic() - shown > 10:
                self.say(f"[dim]… waiting for {what}{progress()}[/dim]")
                shown = time.monotonic()
            time.sleep(0.3)
