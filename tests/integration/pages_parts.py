"""A home with a history to look at: windows, incidents, a ledger, receipts, a report; and one whose data is hostile."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import serving_parts as parts

from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import Check, Generation, Outcome, Verdict, WindowKey
from monitoring.store import Store, open_store

REPORT = """<!doctype html><title>drift report</title><h1>Drift in column size</h1><p id="ran">static</p>
<script>document.getElementById('ran').textContent = 'the report\\'s own script ran'</script>"""

PROJECT = """
from projects.declaration import Category, Evaluation, Model, Number, Project, Schema

def rows():
    raise SystemExit("this project of a test has no rows")

project = Project(
    name="prices",
    task="regression",
    schema=Schema(columns={"size": Number(), "price": Number(), "note": Category(levels=("a", "b"))}, target="price",
                  key="house"),
    source=rows,
    model=Model(network="mlp"),
    evaluation=Evaluation(metric="mae"),
)
"""


@dataclass(frozen=True)
class Words:
    """What stands where data can stand."""

    reason: str = "size moved by 0.8 sigma, over its threshold in 2 of the last 3 windows"
    column: str = "size"
    project: str = "prices"


def window(project: str, generation: int, index: int, now: datetime) -> WindowKey:
    end = now - timedelta(hours=60 - index)
    return WindowKey(project, generation, index, end - timedelta(hours=1), end)


def detail(index: int, drift: float, words: Words) -> dict[str, Any]:
    value = 0.91 - 0.12 * (drift > 1) + 0.01 * math.sin(index)
    return {
        "threshold": 3.0,
        "columns": {words.column: {"score": 3.0 * drift}, "rooms": {"score": 0.9}},
        "estimate": {"metric": "accuracy", "value": value + 0.01, "low": 0, "high": 1, "past_error": 0.02},
        "budget": {"asked": 1.0, "supported": 3.0, "windows": 2184},
        "triage": [
            {"column": words.column, "drift": drift, "importance": 0.12, "effect": 0.04, "rank": 1},
            {"column": "rooms", "drift": 1.1, "importance": None, "effect": 0.04, "rank": 2},
        ],
    }


def judged(
    store: Store, words: Words, index: int, check: Check, outcome: Outcome, now: datetime, **more: Any
) -> Verdict:
    generation = 1 if index < 25 else 2
    drift = 1.7 if outcome == "drift" else 0.3 + 0.3 * random.random()
    told = detail(index, drift, words)
    if check == "performance":
        value = 0.92 - 0.12 * (outcome == "degraded") + random.uniform(-0.01, 0.01)
        told = {
            "realised": {"metric": "accuracy", "value": value, "low": value - 0.03, "high": value + 0.03, "rows": 180}
        }
    reason = words.reason if outcome != "ok" else "ok: would have seen 0.3 sigma in any number; blind: none"
    verdict = Verdict(window(words.project, generation, index, now), check, outcome, 200, reason, told)
    store.record_verdict(verdict, more.get("effects", Effects()), now - timedelta(hours=60 - index))
    return verdict


def fill(store: Store, words: Words, now: datetime) -> int:
    """Write two generations' windows, a past and an open incident, and what was decided; return the open one's id."""
    project = words.project
    for number in (1, 2):
        at = now - timedelta(hours=61 - 25 * (number - 1))
        new = Generation(project, number, str(100 + number), f"run{number}", "0" * 64, at, "ada", words.reason, [])
        store.ledger.append_generation(number - 1, new)
    past, _ = store.incidents.open(
        NewIncident(project, "fault", 1, words.reason, {"window": 12}), now - timedelta(hours=48)
    )
    store.incidents.close(past.id, f"recovered: {words.reason}", now - timedelta(hours=44))
    opened = 0
    for index in range(60):
        outcome: Outcome = "fault" if index in (12, 13) else "drift" if index > 55 else "ok"
        effects = Effects()
        if index == 57:
            alert = {
                "what": f"{words.column}: {words.reason}",
                "how_sure": "2 of the last 3 windows, 2 are needed",
                "so_what": "the model sees rows unlike those it was judged on",
                "done": "the retraining waits: 40 labels, 100 are needed",
                "window": 57,
                "check": "data",
            }
            effects = Effects(
                opened=NewIncident(project, "drift", 2, words.reason, alert),
                decisions=(
                    NewDecision(project, "alert", None, f"DRIFT {project}: {words.reason}", {"channels": ["log"]}),
                    NewDecision(project, "wait", None, f"40 labels, 100 are needed: {words.reason}"),
                ),
            )
        judged(store, words, index, "data", outcome, now, effects=effects)
        if index == 57:
            opened = store.incidents.open_ones(project)[0].id
        if index < 52:
            judged(store, words, index, "performance", "degraded" if index == 13 else "ok", now)
    store.verdicts.attach_report(window(project, 2, 57, now), "data", {"html": f"{project}/2/57.html"})
    ask = NewDecision(project, "ask", "version 103", f"version 103 waits for a person: {words.reason}")
    asked, _ = store.approvals.ask(ask, version="103", champion="102", now=now, expires_at=now + timedelta(days=3))
    store.approvals.note_run(asked.id, "0123-run", now)
    return opened


def history(home: Path, words: Words, report: str = REPORT) -> int:
    """Make a home whose project serves and has a history; return the open incident's id."""
    random.seed(1)
    manifest = parts.price_version(home / "generations" / "prices" / "2", 2.0)
    parts.point(home, "prices", 2, manifest)
    folder = home / "reports" / words.project / "2"
    folder.mkdir(parents=True)
    (folder / "57.html").write_text(report)
    store = open_store(f"sqlite:///{home / 'holdfast.db'}")
    try:
        return fill(store, words, datetime.now(UTC))
    finally:
        store.close()


@contextmanager
def told(home: Path, words: Words = Words(), **variables: Any) -> Iterator[tuple[parts.Service, int]]:
    """Serve such a home."""
    opened = history(home, words)
    with parts.serving(home, **variables) as service:
        yield service, opened
