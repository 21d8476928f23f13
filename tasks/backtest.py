"""History replayed as if live: rows are answered and logged, labels come late, windows get verdicts, incidents retrain.

Every step is the one that runs in production, on a store of the replay's own and on a clock it moves. What differs:
a training takes no time of the replay's, a person who is asked says yes at once, and the monitor runs four times a
window.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from data.batches import write_batch
from data.errors import HoldfastError
from data.packing import pack_all
from data.schema import length, take
from models.judging import hindering
from models.metrics import labelled
from monitoring.records import Generation, Label
from projects.declaration import Project
from tasks import harvesting, placing, promotion, receipts, retraining, watching
from tasks.backtest_home import Moved, Rehearsal
from tasks.backtest_stream import Stream, singly
from tasks.evaluation import evaluate
from tasks.ingestion import write_snapshot
from tasks.leases import Run, leased
from tasks.observing import predictor_of, utc
from tasks.scoring import fresh_predictions

PACE = 4  # monitor runs in a window
TICK = timedelta(microseconds=1)
EVERY = 1_000_000  # incidents, more than any replay has
PERSON = "a person's yes, which a backtest takes for granted"
Tell = Callable[[datetime], None]
"""Told which moment of history a replay has come to."""


@dataclass(frozen=True)
class Retraining:
    """One training of a replay. `seconds`: of this machine, from its rows to its verdict."""

    at: datetime
    why: str
    outcome: str  # promoted, kept, refused, failed
    sentence: str
    rows: int
    seconds: float


@dataclass
class Played:
    """What a replay has left. `predicted`: an answer to each row of the stream, None where nothing was asked.

    `undone`: the promotions that a receipt showed to have lost, when and why.
    """

    name: str
    predicted: np.ndarray
    retrainings: list[Retraining] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    undone: list[dict[str, Any]] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """Spent on retrainings, on this machine."""
        return sum(one.seconds for one in self.retrainings) / 60


class Replay:
    """The monitor and the governor, from a moment of history on. `play` may be called again, to go further."""

    def __init__(self, home: Rehearsal, stream: Stream, clock: Moved, name: str) -> None:
        assert home.declared is not None
        self.home, self.stream, self.clock = home, stream, clock
        self.project: Project = home.declared
        self.played = Played(name, np.full(len(stream), None, dtype=object))
        self.reached = clock.now  # up to here rows and labels have come

    def start(self, since: datetime) -> Retraining:
        """Make the first version from what was known at `since`, and let it serve.

        Raises: TooFewRows.
        """
        self.clock.to(since)
        self.reached = since
        known = self.stream.known(datetime.fromtimestamp(0, since.tzinfo), since)
        land(self.home, self.project, self.stream, known, "history")
        return self.train("the first version")

    def play(self, until: datetime, tell: Tell) -> Played:
        """Replay up to a moment, and return what there is by then."""
        step = pace(self.project, self.stream)
        while self.reached < until:
            before, self.reached = self.reached, min(self.reached + step, until)
            self.clock.to(self.reached)
            self.answer(self.stream.come(before, self.reached))
            self.label(self.stream.known(before, self.reached))
            self.watch()
            tell(self.reached)
        found = self.home.store.incidents.recent(self.project.name, EVERY)
        self.played.incidents = [incident_line(one) for one in reversed(found)]
        return self.played

    def answer(self, which: np.ndarray) -> None:
        """Answer rows with what serves, and log the answers."""
        if not len(which):
            return
        serving = self.serving()
        predictor, rows = predictor_of(self.home, serving), self.stream.asked(which)
        outputs = predictor.predict(rows)
        packed, places = pack_all(predictor.schema, rows), np.arange(len(which))
        made = fresh_predictions(serving, predictor, rows, places, packed, outputs, self.home.now())
        self.home.store.predictions.append(made)
        self.played.predicted[which] = singly(outputs)

    def label(self, which: np.ndarray) -> None:
        """Take in the labels that were told meanwhile, of rows that were asked about."""
        schema = self.stream.schema
        which = which[labelled(self.stream.rows[schema.target][which])]
        keys, truth = (self.stream.rows[name][which] for name in (schema.key, schema.target))
        told = schema.columns[schema.target].to_request(truth)
        when = map(utc, self.stream.told[which])
        said = [Label(str(key), value, at) for key, value, at in zip(keys, told, when, strict=True)]
        if said:
            self.home.store.labels.record(self.project.name, said, self.home.now())

    def watch(self) -> None:
        """Judge what is due, ask the governor again, and do the retrainings it promised."""
        store, name = self.home.store, self.project.name
        report = watching.watch(self.home, name)
        self.played.verdicts += [{"at": self.home.now().isoformat(), **line} for line in report.table]
        watching.reconsider(self.home)
        before = self.serving()
        receipts.settle(self.home, name, agreed=True)
        if (serving := self.serving()).number != before.number:
            self.played.undone.append({"at": self.home.now().isoformat(), "reason": serving.reason})
            self.place()
        for intent in store.intents.open_ones(name):
            about = f"incident {intent.incident_id}" if intent.incident_id else "a person"
            self.played.retrainings.append(self.train(about, intent.id))

    def train(self, why: str, intent: int | None = None) -> Retraining:
        """Do what the training flow does; one that can't be done ends its intent as failed."""
        began, name = time.perf_counter(), self.project.name
        home, quiet = self.home, lambda _share, _what: None
        holder = f"backtest {len(self.played.retrainings) + 1}"
        with leased(home, name, holder=holder, intent=intent) as run:
            try:
                harvesting.harvest(home, name)
                write_snapshot(run.folder / "snapshot.json", home.batches.snapshot(name))
                rows = home.batches.snapshot(name).rows
                self.clock.to(home.now() + TICK)  # what was landed came before the training's end
                retraining.prepare(home, run)
                retraining.fit(home, run, "cpu", quiet)
                evaluate(self.project, run.folder)
                retraining.register(home, run)
                retraining.judge(home, run)
                sentence = retraining.settle(home, run).sentence
                outcome = run.outcome
            except HoldfastError as error:
                if intent is None:
                    raise
                home.store.intents.end(intent, "failed", home.now(), run.attempt)
                outcome, sentence = "failed", str(error)
        if outcome == "challenger" or (intent is None and outcome != "promoted"):
            outcome = self.approve(run)
        if outcome == "promoted":
            self.place()
        return Retraining(self.reached, why, outcome, sentence, rows, time.perf_counter() - began)

    def approve(self, run: Run) -> str:
        """Say yes for the person who was asked."""
        assert run.judgement is not None
        waive = hindering(run.judgement.table())
        promotion.promote(self.home, self.project.name, run.version, actor="backtest", reason=PERSON, waive=waive)
        return "promoted"

    def place(self) -> None:
        """Bring what serves now to where it answers from."""
        serving = self.serving()
        placing.place(self.home, serving, self.home.settings.home / "generations" / serving.project)

    def serving(self) -> Generation:
        """Return what serves."""
        found = self.home.store.ledger.generation(self.project.name)
        assert found is not None, "the first version serves from the start"
        return found


def land(home: Rehearsal, project: Project, stream: Stream, which: np.ndarray, name: str) -> None:
    """Take in rows that were accepted when they came, as one batch."""
    rows = take(stream.rows, which)

    def write(path: Path) -> None:
        write_batch(path, rows, project.schema)

    home.batches.land(project.name, name, write, length(rows))


def pace(project: Project, stream: Stream) -> timedelta:
    """Return how often the monitor runs: four times a window, by the rows' usual distance where rows make a window."""
    window = project.monitors.window
    if window.span is not None:
        return window.span / PACE
    whole = utc(stream.seen[-1]) - utc(stream.seen[0])
    return max(whole / max(len(stream), 1) * (window.rows or 1) / PACE, timedelta(microseconds=1))


def incident_line(incident: Any) -> dict[str, Any]:
    """Return an incident as JSON values."""
    return {
        "kind": incident.kind,
        "generation": incident.generation,
        "opened": incident.opened_at.isoformat(),
        "closed": incident.closed_at.isoformat() if incident.closed_at else None,
        "reason": incident.reason,
        "closed_why": incident.closed_why,
    }
