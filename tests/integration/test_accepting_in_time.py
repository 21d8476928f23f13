"""Accepting where rows hang together in time: what is usual then follows from past windows, not from resampled rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loop_parts import PLUMS, Orchard
from scipy.signal import lfilter

from data.packing import pack_all
from data.schema import Rows
from data.versions import DataRegistry
from models.predictor import read_version
from monitoring.logged import reference_of
from monitoring.records import Incident, Label, Prediction
from tasks import fitting, preparation
from tasks.accepting import accept
from tasks.ingestion import ingest, write_snapshot
from tasks.settings import Settings
from tasks.watching import watch

NAME, DAY, DAYS = "seasons", 40, 60
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(days=1) / DAY
READ = """
def rows():
    from pathlib import Path

    return pd.read_csv(Path(__file__).with_name("seasons.csv"), parse_dates=["at"], dtype={"plum": str})


project = Project("""
CHANGES = (
    ("\nproject = Project(", READ),
    ('key="plum",', 'key="plum", time="at",'),
    ("exchangeable=True", "exchangeable=False"),
    ("false_incidents=0.05", "false_incidents=1.0"),
    ("minimum_labels=30", 'minimum_labels=30, retrain="off"'),
)


def season(rng: np.random.Generator, days: int, shift: float) -> Rows:
    """Whole days of a cycle with noise that lasts, half-hourly or so."""
    noise = lfilter([0.8], [1, -0.6], rng.normal(size=(days * DAY + 50, 2)), axis=0)[50:]
    cycle = np.sin(2 * np.pi * np.arange(days * DAY) / DAY)
    return {"size": cycle + noise[:, 0] + shift, "sugar": noise[:, 1]}


@dataclass
class Stream:
    """A service that answers day after day, and a monitor that looks on."""

    orchard: Orchard
    rng: np.random.Generator
    day: int = DAYS

    def live(self, days: int, shift: float = 0.0, *, labelled: bool = False) -> list[str]:
        """Let days go by; return what was said of each."""
        rows, first = season(self.rng, days, shift), self.day * DAY
        predictor = read_version(self.orchard.trained / "model")
        times = [BEGIN + (first + n) * STEP for n in range(days * DAY)]
        ids = [f"r{first + n:06d}" for n in range(days * DAY)]
        at = np.array([one.replace(tzinfo=None) for one in times], dtype="datetime64[us]")
        keyed = {**rows, "plum": np.array(ids, dtype=object), "at": at}
        packed, answers = pack_all(predictor.schema, keyed), predictor.predict(keyed).answers()
        number = self.orchard.serving.number
        self.orchard.store.predictions.append(
            [Prediction(ids[n], NAME, number, times[n], times[n], packed[n], answers[n]) for n in range(days * DAY)]
        )
        if labelled:
            told = np.where(rows["size"] + rows["sugar"] > 0, "yes", "no").tolist()
            said = [Label(id_, truth, times[-1]) for id_, truth in zip(ids, told, strict=True)]
            self.orchard.store.labels.record(NAME, said, times[-1])
        self.day += days
        watch(self.orchard, NAME)
        return [one.outcome for one in self.orchard.verdicts()][-days:]

    @property
    def incidents(self) -> list[Incident]:
        return self.orchard.store.incidents.recent(NAME, 9)[::-1]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    projects = tmp_path / "projects"
    projects.mkdir()
    text = PLUMS.format(name=NAME)
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    (projects / f"{NAME}.py").write_text(text)
    rng = np.random.default_rng(5)
    rows = season(rng, DAYS, 0.0)
    told = {"plum": [f"p{n:05d}" for n in range(DAYS * DAY)], "at": [BEGIN + n * STEP for n in range(DAYS * DAY)]}
    ripe = np.where(rows["size"] + rows["sugar"] > 0, "yes", "no")
    frame = pd.DataFrame({**told, **rows, "ripe": ripe})
    frame["at"] = frame["at"].dt.tz_localize(None)
    frame.to_csv(projects / f"{NAME}.csv", index=False)
    settings = Settings(home=tmp_path / "home", projects=str(projects), clock="data")
    shared = DataRegistry(settings.home / "registry", str(settings.home / "remote"))
    orchard = Orchard(settings, name=NAME, trained=tmp_path / "run", shared=shared)
    ingest(orchard, NAME)
    write_snapshot(orchard.trained / "snapshot.json", orchard.batches.snapshot(NAME))
    preparation.prepare(orchard.declared, orchard.batches, orchard.trained)
    fitting.fit(orchard.declared, orchard.trained, device="cpu", progress=lambda _share, _what: None)
    orchard.serve()
    yield Stream(orchard, rng)
    orchard.store.close()


def test_a_permanent_harmless_change_of_a_series_is_one_incident_then_quiet_and_the_next_change_is_seen(
    stream: Stream,
) -> None:
    stream.live(4)
    stream.live(30, 2.0)
    [incident] = stream.incidents
    assert incident.kind == "drift"
    accept(stream.orchard, incident.id, "a new supplier, as announced", "ada")
    known = reference_of(stream.orchard.store, stream.orchard.verdicts()[-1].window)
    assert len(known.times) == known.rows == 29 * DAY  # without the window in which it began
    assert not known.exchangeable
    assert stream.live(20, 2.0).count("ok") >= 16
    assert [one.id for one in stream.incidents] == [incident.id]
    assert "drift" in stream.live(4, 4.0)
    assert [one.closed_at is None for one in stream.incidents] == [False, True]


def test_labels_of_too_few_windows_do_not_become_what_errors_in_time_are_compared_with(stream: Stream) -> None:
    stream.live(6, 2.0)
    [incident] = stream.incidents
    stream.live(2, 2.0, labelled=True)
    said = accept(stream.orchard, incident.id, "a new supplier, as announced", "ada").sentence
    assert "held out from training, since too few labels are there" in said
    stream.live(2, 2.0, labelled=True)
    last = stream.orchard.store.verdicts.latest(NAME, "performance", 1)[0].verdict
    assert last.outcome != "insufficient", last.reason
