"""A forecast through the whole loop: answered, labelled, watched, learned anew, promoted, settled by a receipt."""

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data.batches import coerce
from data.sources import Batch
from tasks.backtest import Played, Replay
from tasks.backtest_arms import trivial
from tasks.backtest_home import Moved, rehearsal
from tasks.backtest_stream import Stream, stream_of
from tasks.observing import predictor_of
from tasks.resources import connect
from tasks.settings import Settings
from tasks.trial_comparison import Answered, numbers

STEP = timedelta(hours=6)  # from one row to the next
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HISTORY, CHANGE, ROWS = 500, 700, 1100
FILE = """
    import numpy as np
    import pandas as pd
    from datetime import timedelta
    from projects.declaration import (
        Batch, Evaluation, Gates, Governor, Labels, Model, Monitors, Project, Schema, Series, Training, Window
    )

    ROWS, CHANGE, PAST, COMING = 1100, 700, 24, 6


    def swell():
        hours = np.arange(ROWS + PAST + COMING)
        noise = np.random.default_rng(3).normal(size=len(hours))
        height = np.sin(hours * np.pi / 12) + 0.1 * noise
        late = hours >= CHANGE + PAST
        height = np.where(late, 3.0 + 2.0 * np.sin(hours * np.pi / 4) + 0.1 * noise, height)[:, None]
        yield Batch("2026", pd.DataFrame({
            "id": [f"h{at:04d}" for at in range(ROWS)],
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(6 * np.arange(ROWS), unit="h"),
            "past": [height[at : at + PAST] for at in range(ROWS)],
            "coming": [height[at + PAST : at + PAST + COMING] for at in range(ROWS)],
        }))


    project = Project(
        name="swell",
        task="forecast",
        schema=Schema(
            columns={
                "past": Series(length=PAST, channels=("height",)), "coming": Series(length=COMING, channels=("height",))
            },
            target="coming", key="id", time="at",
        ),
        source=swell,
        labels=Labels(delay=timedelta(hours=6 * COMING)),
        model=Model(network="linear"),
        training=Training(epochs=15, batch_size=32, learning_rate=2e-2, rows="since_drift", newest=200),
        evaluation=Evaluation(metric="mae", judge=0.2, anchor=0.0, judge_rows=100),
        gates=Gates(anchor_rows=0),
        monitors=Monitors(window=Window(span=timedelta(days=6)), k=2, n=3, minimum_rows=12),
        governor=Governor(
            promote="auto", cooldown=timedelta(days=2), minimum_labels=60, receipt_after=timedelta(days=20)
        ),
    )
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("swell") / "swell.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.fixture(scope="module")
def stream(file: Path) -> Stream:
    project = connect(Settings(home=file.parent / "untouched", projects=str(file.parent))).project("swell")
    [batch] = project.source()
    assert isinstance(batch, Batch)
    rows, misfits = coerce(batch.frame, project.schema)
    assert not misfits
    return stream_of(project, rows)


def test_a_forecast_that_the_world_left_behind_is_learned_anew_and_a_promotion_that_lost_is_undone(
    stream: Stream, file: Path
) -> None:
    clock = Moved()
    with rehearsal(Settings(threads=1), stream.project, file, clock) as home:
        replay = Replay(home, stream, clock, "declared")
        replay.start(FIRST + HISTORY * STEP)
        played = replay.play(FIRST + ROWS * STEP, lambda _: None)
        assert played.incidents
        assert all(datetime.fromisoformat(one["opened"]) > FIRST + CHANGE * STEP for one in played.incidents)
        assert any(one.outcome == "promoted" for one in played.retrainings)
        told = {(one["check"], one["verdict"]) for one in played.verdicts}
        assert {("data", "ok"), ("data", "drift"), ("performance", "ok"), ("performance", "degraded")} <= told
        lost, *_, paid = [one for one in home.store.receipts.of("swell") if one.kind == "promotion"]
        assert (lost.paid, paid.paid) == ("no", "yes")  # the first was judged by too few hours of the new world
        assert [one["reason"] for one in played.undone] == [f"rollback: {lost.detail['sentence']}"]
        assert "of mae (above 0 is better)" in lost.detail["sentence"]
        landed = home.batches.snapshot("swell")
        assert landed.rows > HISTORY  # answered rows with their labels, harvested
        better(stream, played)
        answers = predictor_of(home, replay.serving()).predict(stream.asked(np.arange(5))).answers()
    assert numbers(answers).shape == (5, 6)
    known = stream.rows["coming"][:5]
    assert Answered(answers, known, np.arange(5)).valued("mae").shape == (5, 6)


def better(stream: Stream, played: Played) -> None:
    """What serves in the end is better than repeating the last season, as `season` has it, in the new world."""
    end = slice(ROWS - 150, ROWS - 50)
    season = trivial(stream.project, stream, FIRST + HISTORY * STEP)
    ours, theirs = (stream.losses(one.predicted)[end] for one in (played, season))
    assert np.nanmean(ours) < 0.5 * np.nanmean(theirs) or np.nanmean(ours) < 0.3
