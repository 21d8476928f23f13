"""Markdown for people, with values from data in it that can't become markup."""

import html
import re
from collections.abc import Sequence


def escaped(value: object) -> str:
    """Return text that Markdown shows as it is, on one line: no markup, no link, no HTML.

    Signs of Markdown get a backslash: the viewers of Prefect and MLflow don't know every numeric entity.
    """
    line = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", line).replace("://", "\\://")


def table(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Return a table with every cell escaped."""
    rows = [f"| {' | '.join(escaped(cell) for cell in line)} |" for line in (columns, *lines)]
    rows.insert(1, "|" + "---|" * len(columns))
    return "\n".join(rows)
