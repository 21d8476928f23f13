"""What a person reads after a step, whichever face shows it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """The outcome of a step: one sentence, the page under it, links by title, and its numbers as rows of a table."""

    sentence: str
    markdown: str = ""
    links: dict[str, str] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
