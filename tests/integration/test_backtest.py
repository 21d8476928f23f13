import json
import multiprocessing
import os
import signal
import sqlite3
import tempfile
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data.environment import tool_environment
from data.errors import BadDeclaration, BadSetting, TooFewRows
from data.schema import Rows
from data.sources import Batch
from holdfast.cli import app
from projects.declaration import Project
from tasks.backtest import Played, Replay
from tasks.backtest_arms import scheduled, trivial
from tasks.backtest_home import Moved, rehearsal
from tasks.backtest_policies import POLICIES, choose, named
from tasks.backtest_report import facts, write
from tasks.backtest_stream import Stream, cut, history, stream_of
from tasks.backtesting import Result, backtest
from tasks.ingestion import ingest
from tasks.observing import predictor_of
from tasks.resources import connect
from tasks.settings import Settings

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, HISTORY, CHANGE, WINDOW = 2000, 600, 1000, 100
WEEK = 2 * WINDOW * HOUR
POISON = FIRST + 1300 * HOUR
SINCE = FIRST + HISTORY * HOUR
FILE = """
    import numpy as np
    import pandas as pd
    from datetime import timedelta
    from projects.declaration import (
        Batch, Category, Evaluation, Gates, Governor, Labels, Model, Monitors, Number, Project, Schema, Training, Window
    )

    ROWS, CHANGE = 2000, 1000


    def stream():
        rng = np.random.default_rng(7)
        number = np.arange(ROWS)
        rows = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS)})
        rows["a"] += 3.0 * (number >= CHANGE)
        turned = np.where(number >= CHANGE, rows["b"] > rows["a"] - 3.0, rows["a"] > rows["b"])
        rows["y"] = np.where(turned, "up", "down")
        rows["id"] = [f"r{i:04d}" for i in number]
        rows["at"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number, unit="h")
        yield Batch("2026", rows)


    project = Project(
        name="turning",
        task="classification",
        schema=Schema(
            columns={"a": Number(), "b": Number(), "y": Category(levels=("down", "up"))},
            target="y", key="id", time="at",
        ),
        source=stream,
        labels=Labels(delay=timedelta(hours=12)),
        model=Model(network="mlp", options={"hidden": (16,)}),
        training=Training(epochs=8, batch_size=32, learning_rate=2e-2, rows="since_drift", newest=400),
        evaluation=Evaluation(judge=0.25, anchor=0.0, exchangeable=True),
        gates=Gates(anchor_rows=0),
        monitors=Monitors(window=Window(span=timedelta(hours=100)), k=2, n=3),
        governor=Governor(promote="approve", cooldown=timedelta(days=2), minimum_labels=100),
    )
"""


def project_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "turning.py").write_text(textwrap.dedent(FILE))
    return folder


def replayed(stream: Stream, folder: Path, *, until: datetime | None = None) -> Result:
    return backtest(
        Settings(home=folder / "untouched", threads=1),
        stream,
        folder / "turning.py",
        named(("declared",)),
        since=SINCE,
        until=until,
        week=WEEK,
        progress=lambda _share, _what: None,
    )


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_in(tmp_path_factory.mktemp("turning"))


@pytest.fixture(scope="module")
def stream(projects: Path) -> Stream:
    project = connect(Settings(home=projects / "untouched", projects=str(projects))).project("turning")
    [batch] = project.source()
    assert isinstance(batch, Batch)
    return stream_of(project, typed(project, batch))


def typed(project: Project, batch: Batch) -> Rows:
    from data.batches import coerce

    rows, misfits = coerce(batch.frame, project.schema)
    assert not misfits
    return rows


@pytest.fixture(scope="module")
def result(stream: Stream, projects: Path) -> Result:
    return replayed(stream, projects)


def row_of(moment: str | datetime) -> float:
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (at - FIRST) / HOUR


def test_the_change_is_found_when_its_second_window_is_over_and_nothing_before(result: Result) -> None:
    incidents = result.arms[0].incidents
    assert row_of(incidents[0]["opened"]) - CHANGE <= 2 * WINDOW + WINDOW / 4
    assert min(row_of(one["opened"]) for one in incidents) > CHANGE


def test_fewer_retrainings_than_by_the_week_are_about_as_good(result: Result) -> None:
    policy, never, weekly, always, previous = result.arms
    assert [arm.name for arm in result.arms] == ["declared", "never", "weekly", "always", "previous label"]
    assert 1 <= len(policy.retrainings) <= len(weekly.retrainings) / 2 < len(always.retrainings)
    assert result.metric(policy, last_third=True) >= result.metric(weekly, last_third=True) - 0.02
    assert result.metric(policy, last_third=True) > result.metric(never, last_third=True) + 0.2
    assert result.metric(previous, last_third=False) == pytest.approx(0.5, abs=0.05)


def test_every_window_has_one_verdict_a_check_by_the_production_rules(result: Result) -> None:
    given = [(one["generation"], one["window"], one["check"]) for one in result.arms[0].verdicts]
    assert len(set(given)) == len(given)
    assert {one["check"] for one in result.arms[0].verdicts} == {"data", "performance"}
    for one in result.arms[0].verdicts:
        if one["generation"] == 1 and one["rows"] == WINDOW:
            late = 12 if one["check"] == "performance" else 0
            assert row_of(one["at"]) >= HISTORY + (one["window"] + 1) * WINDOW + late


def test_a_label_that_comes_later_changes_nothing_before(
    stream: Stream, projects: Path, result: Result, tmp_path: Path
) -> None:
    late = stream.told > np.datetime64(POISON.replace(tzinfo=None))
    turned = np.where(stream.rows["y"] == "up", "down", "up")
    poisoned = replace(stream, rows={**stream.rows, "y": np.where(late, turned, stream.rows["y"]).astype(object)})
    clock = Moved()
    with rehearsal(Settings(threads=1), stream.project, projects / "turning.py", clock) as home:
        replay = Replay(home, poisoned, clock, "declared")
        replay.start(SINCE)
        read = Read(replay.play(POISON, quiet), POISON)
        assert read == Read(result.arms[0], POISON)
        assert read.retrainings
        after = POISON + 125 * HOUR
        assert Read(replay.play(after, quiet), after).verdicts != Read(result.arms[0], after).verdicts  # read there
        first = predictor_of(home, home.store.ledger.generations("turning")[0])
        within = {"since": SINCE, "until": POISON, "folder": tmp_path, "threads": 1, "tell": quiet}
        weekly = scheduled(stream.project, poisoned, "weekly", WEEK, first=first, **within)  # type: ignore[arg-type]
    assert Read(weekly, POISON).answers == Read(result.arms[2], POISON).answers


class Read:
    """All that followed from labels by a moment, without how long anything took."""

    def __init__(self, played: Played, until: datetime) -> None:
        def before(moment: str) -> bool:
            return datetime.fromisoformat(moment) <= until

        self.verdicts = [one for one in played.verdicts if before(one["at"])]
        self.incidents = [one["reason"] for one in played.incidents if before(one["opened"])]
        self.retrainings = [replace(one, seconds=0.0) for one in played.retrainings if one.at <= until]
        self.answers = played.predicted[: round(row_of(until)) + 1].tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def quiet(_now: datetime) -> None:
    pass


def test_a_row_is_answered_without_the_label_that_comes_later(stream: Stream) -> None:
    found = trivial(stream.project, stream, SINCE)
    truth = stream.rows["y"]
    rows = np.arange(HISTORY + 1, ROWS)
    assert (found.predicted[rows] == truth[rows - 12]).all()
    assert all(value is None for value in found.predicted[: HISTORY + 1])
    assert "y" not in stream.asked(rows)


def test_the_page_stands_alone_and_says_what_was_found(result: Result, tmp_path: Path) -> None:
    found = facts(result)
    json.dumps(found)
    text = write(result, found, tmp_path, datetime(2026, 5, 1, tzinfo=UTC)).read_text()
    assert [path.name for path in (tmp_path / "reports" / "backtests").iterdir()] == ["turning-20260501T000000.html"]
    assert "data:image/png;base64," in text
    assert "http" not in text
    assert found["sentence"].replace("'", "&#x27;") in text


def test_a_home_is_read_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    live = connect(Settings(home=home, projects=str(project_in(tmp_path / "projects"))))
    ingest(live, "turning")
    before = contents(home)
    for name, value in {**tool_environment(home), "HOLDFAST_PROJECTS": str(tmp_path / "projects")}.items():
        monkeypatch.setenv(name, value)
    since, until = f"{SINCE:%Y-%m-%d}", f"{SINCE + 120 * HOUR:%Y-%m-%d}"
    words = ["backtest", "turning", "--home", str(home), "--since", since, "--until", until, "--json"]
    ended = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert Path(told["page"]).parent == home / "reports" / "backtests"
    assert told["arms"][0]["arm"] == "declared"
    assert contents(home) == before
    assert not list(temporary.glob("holdfast-*"))
    assert len(history(live, live.project("turning"))) == ROWS
    live.store.close()


def test_a_killed_backtest_leaves_a_temporary_folder_and_no_trace_in_the_next(
    stream: Stream, projects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    child = multiprocessing.get_context("fork").Process(target=replayed, args=(stream, projects))
    child.start()
    patience = time.monotonic() + 60
    while not list(tmp_path.glob("holdfast-backtest-*/holdfast.db")) and time.monotonic() < patience:
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    [left] = tmp_path.iterdir()
    assert left.name.startswith("holdfast-backtest-")
    assert not (projects / "untouched").exists()


def contents(home: Path) -> dict[str, object]:
    """Return every file's bytes but the backtests' pages; of the store its rows, for a reader rewrites its index."""
    found: dict[str, object] = {}
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.is_file() and not name.startswith(("reports/backtests", "holdfast.db", "logs")):
            found[name] = path.read_bytes()
    with sqlite3.connect(home / "holdfast.db") as store:
        found["store"] = list(store.iterdump())
    return found


def test_too_little_history_is_said_in_a_sentence(stream: Stream) -> None:
    with pytest.raises(TooFewRows, match="to replay after --since \\(history goes from 2026-01-01 00:00"):
        cut(stream, FIRST + 2599 * HOUR, None)
    with pytest.raises(TooFewRows, match="known by --since"):
        cut(stream, FIRST + 20 * HOUR, None)


def test_without_times_nothing_says_what_was_known_when(stream: Stream) -> None:
    schema = replace(stream.schema, time=None)
    timeless = replace(stream.project, schema=schema, labels=replace(stream.project.labels, delay=timedelta(0)))
    with pytest.raises(BadDeclaration, match="no time column"):
        stream_of(timeless, stream.rows)


def test_a_policy_that_nobody_knows_is_named() -> None:
    with pytest.raises(BadSetting, match="did you mean 'half-windows'"):
        named(("half-window",))
    assert named(("all",)) == list(POLICIES.values())


@pytest.mark.parametrize(
    ("found", "task", "best"),
    [
        ({"a": (0.80, 9), "b": (0.81, 12)}, "classification", "b"),
        ({"a": (0.806, 2), "b": (0.81, 12)}, "classification", "a"),  # as good, and cheaper
        ({"a": (float("nan"), 0), "b": (0.5, 12)}, "classification", "b"),
        ({"a": (10.0, 2), "b": (9.0, 12)}, "regression", "b"),
        ({"a": (9.04, 2), "b": (9.0, 12)}, "regression", "a"),
    ],
)
def test_the_best_policy_is_chosen_and_of_equals_the_cheapest(
    found: dict[str, tuple[float, int]], task: str, best: str
) -> None:
    assert choose(found, task) == best


def test_every_policy_changes_a_projects_monitor_or_governor_or_rows_and_nothing_else(stream: Stream) -> None:
    project = stream.project
    changed = {name: policy.change(project) for name, policy in POLICIES.items()}
    assert changed.pop("declared") == project
    training = changed.pop("since-drift").training
    assert (training.rows, training.newest) == ("since_drift", project.governor.minimum_labels)
    assert replace(training, rows=project.training.rows, newest=project.training.newest) == project.training
    for one in changed.values():
        assert (one.monitors, one.governor) != (project.monitors, project.governor)
        assert replace(one, monitors=project.monitors, governor=project.governor) == project


NUMBERS = """
    import numpy as np
    import pandas as pd
    from datetime import timedelta
    from projects.declaration import (
        Batch, Evaluation, Gates, Governor, Labels, Model, Monitors, Number, Project, Schema, Training, Window
    )


    def hours(first, last, level):
        number = np.arange(first, last)
        size = np.random.default_rng(first).normal(size=len(number))
        at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number, unit="h")
        yield Batch(f"from-{first}", pd.DataFrame({
            "id": [f"h{n:04d}" for n in number], "at": at, "size": size, "price": 3.0 * size + level,
        }))


    project = Project(
        name="prices",
        task="regression",
        schema=Schema(columns={"size": Number(), "price": Number()}, target="price", key="id", time="at"),
        source=lambda: hours(0, 600, 10.0),
        changes={"dearer": lambda: hours(600, 900, 14.0)},
        labels=Labels(delay=timedelta(hours=24)),
        model=Model(network="mlp", options={"hidden": (8,)}),
        training=Training(epochs=4, batch_size=32, learning_rate=2e-2),
        evaluation=Evaluation(metric="mae", judge=0.25, anchor=0.0, exchangeable=True),
        gates=Gates(anchor_rows=0, baseline=False),
        monitors=Monitors(window=Window(span=timedelta(days=7))),
        governor=Governor(retrain="off"),
    )
"""


def test_a_declared_change_is_played_without_an_ingest_and_numbers_are_scored_in_three_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.py").write_text(textwrap.dedent(NUMBERS))
    for name, value in {**tool_environment(tmp_path / "home"), "HOLDFAST_PROJECTS": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    words = ["backtest", "prices", "--home", str(tmp_path / "home"), "--since", "2026-01-26", "--json"]
    found = CliRunner().invoke(app, [*words, "--change", "dearer"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["rows"] == 299
    arms = {arm["arm"]: arm for arm in told["arms"]}
    assert arms["weekly"] == {**arms["always"], "arm": "weekly"}  # windows of a week are retrained after each week
    for arm in arms.values():
        assert arm["rmse"] >= arm["mean absolute error"] > 0
    assert arms["weekly"]["r2"] > arms["never"]["r2"]
    assert arms["never"]["mean absolute error"] > 3  # the level rose by four
    rare = CliRunner().invoke(app, [*words, "--change", "dearer", "--calendar", "28"], catch_exceptions=False)
    assert [arm["arm"] for arm in json.loads(rare.stdout)["arms"]] == [
        "declared",
        "never",
        "each 28 days",
        "previous label",
    ]
    wrong = CliRunner().invoke(app, [*words, "--change", "dear"])
    assert (wrong.exit_code, "'dearer'" in wrong.output) == (1, True)
