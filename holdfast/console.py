"""How commands speak: tables and colours on a terminal, plain lines elsewhere, JSON for scripts."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Self

from data.wording import significant

if TYPE_CHECKING:
    from tasks.reports import Report


def on_terminal() -> bool:
    """Whether a person reads along."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print one line, at once."""
    print(text, flush=True)


def fail(text: str) -> None:
    """Print an error on one line."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr, flush=True)


def give_json(value: Any) -> None:
    """Print JSON."""
    print(json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value, default=str))


def table(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Print rows of equal keys: a table on a terminal, else a line each with tabs between."""
    if not rows:
        return
    if not on_terminal():
        for row in rows:
            print("\t".join(text_of(value) for value in row.values()))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left")
    for name in rows[0]:
        drawn.add_column(name.replace("_", " "))
    for row in rows:
        drawn.add_row(*(escape(text_of(value)) for value in row.values()))
    Console().print(drawn)


def markdown(text: str) -> None:
    """Print Markdown: laid out on a terminal, as it is written elsewhere."""
    if not on_terminal():
        say(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def text_of(value: Any) -> str:
    """Return a cell's text, on one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(shortened(value), default=str, ensure_ascii=False)
    return " ".join(str(value).split())


def shortened(value: Any) -> Any:
    """Return a value whose numbers have the four digits that a reader needs."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    return [shortened(inner) for inner in value] if isinstance(value, list | tuple) else value


def report(found: "Report", *, as_json: bool) -> None:
    """Print what a step says: its sentence, its numbers, its links."""
    if as_json:
        give_json(found)
        return
    say(found.sentence)
    table(found.table)
    for title, url in found.links.items():
        say(f"{title}: {url}")


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


class progress:  # noqa: N801 (used like a function)
    """Show how far something long is, on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self.bar: Any = None
        if on_terminal() and not quiet:
            from rich.progress import Progress

            self.bar = Progress(transient=True)
            self.task = self.bar.add_task("starting", total=1.0)

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, share: float, text: str) -> None:
        """Move on to `share`, 0 to 1."""
        if self.bar is not None:
            self.bar.update(self.task, completed=share, description=text)
