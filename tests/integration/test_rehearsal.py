import re

import pytest
from loop_parts import WINDOW, Orchard

from data.errors import NoChampion
from tasks.rehearsal import NotRehearsed, rehearse


def percent(text: str) -> int:
    return int(text.removesuffix("%"))


def test_a_change_is_rehearsed_without_being_sent(orchard: Orchard) -> None:
    orchard.serve()
    small, large = (rehearse(orchard, orchard.name, ["size"], size).table[0] for size in (0.05, 3.0))
    assert percent(small["incident"]) < 20 < 90 < percent(large["incident"])
    assert large["change"] == "+3 sigma"
    assert orchard.store.predictions.count(orchard.name) == 0


def test_every_watched_column_is_rehearsed_where_none_is_named(orchard: Orchard) -> None:
    orchard.serve()
    report = rehearse(orchard, orchard.name, [], 0.5)
    assert {"size", "sugar", "prediction"} <= {row["column"] for row in report.table}
    assert re.match(rf"windows of {WINDOW} rows, at .* false incidents? a quarter", report.sentence)


def test_what_can_not_be_rehearsed_is_said(orchard: Orchard) -> None:
    with pytest.raises(NoChampion):
        rehearse(orchard, orchard.name, [], 0.5)
    orchard.serve()
    with pytest.raises(NotRehearsed, match=r"no column 'sizes' is watched in .*; did you mean 'size'"):
        rehearse(orchard, orchard.name, ["sizes"], 0.5)
    with pytest.raises(NotRehearsed, match="share of rows that move"):
        rehearse(orchard, orchard.name, ["prediction"], 1.5)


def test_a_history_too_short_to_rehearse_anything_is_said(orchard: Orchard) -> None:
    orchard.declare(("exchangeable=True", "exchangeable=False"), ("Window(rows=40)", "Window(rows=100_000)"))
    orchard.serve()
    with pytest.raises(NotRehearsed, match="shorter than two windows of 100,000 rows"):
        rehearse(orchard, orchard.name, [], 0.5)
