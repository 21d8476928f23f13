"""History through the real service: a table whose rule turns, and a forecast."""

import json
import os
import textwrap
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_parts import Service as Running
from serving_parts import serving
from typer.testing import CliRunner, Result

from data.errors import BadSetting, NoChampion, ServerUnavailable
from data.packing import unpack_rows
from data.schema import length
from holdfast.cli import app
from monitoring.declarations import Labels, Monitors, Window
from monitoring.records import Label, Prediction
from projects.declaration import Project
from tasks.backtest import Replay as Backtest
from tasks.backtest_home import Moved, Rehearsal, rehearsal
from tasks.backtest_stream import stamp, stream_of
from tasks.changes import changed, good_rows
from tasks.client import Declined, Service
from tasks.injecting import inject
from tasks.replaying import Replay, Replayed, Speed, lined_up, rows_to_send, speed_of
from tasks.resources import connect
from tasks.settings import Settings
from tasks.snapshot_rows import BATCH
from tasks.traffic import wait_until
from tasks.watching import watch

HISTORY, TRAFFIC = 600, 700
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
FAST = Speed(span=timedelta(days=10_000))
TURNING = """
    import numpy as np
    import pandas as pd
    from datetime import timedelta
    from projects.declaration import (
        Batch, Category, Evaluation, Gates, Governor, Labels, Model, Monitors, Number, Project, Schema, Training, Window
    )

    HISTORY, ROWS, CHANGE = 600, 1300, 800


    def rows():
        rng, number = np.random.default_rng(7), np.arange(ROWS)
        made = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS)})
        made["a"] += 3.0 * (number >= CHANGE)
        made["y"] = np.where(made["a"] > made["b"], "up", "down")
        made["id"] = [f"r{i:04d}" for i in number]
        made["at"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number, unit="h")
        return made


    def known():
        yield Batch("known", rows().iloc[:HISTORY])


    def turned():
        yield Batch("turned", rows().iloc[HISTORY:])


    project = Project(
        name="turning",
        task="classification",
        schema=Schema(
            columns={"a": Number(), "b": Number(nullable=True), "y": Category(levels=("down", "up"))},
            target="y", key="id", time="at",
        ),
        source=known,
        changes={"turned": turned},
        labels=Labels(delay=timedelta(hours=12)),
        model=Model(network="mlp", options={"hidden": (8,)}),
        training=Training(epochs=3, batch_size=32, learning_rate=2e-2),
        evaluation=Evaluation(judge=0.25, anchor=0.0, exchangeable=True),
        gates=Gates(anchor_rows=0),
        monitors=Monitors(window=Window(span=timedelta(hours=100)), k=1, n=1),
        governor=Governor(retrain="off"),
    )
"""
TIDES = """
    import numpy as np
    import pandas as pd
    from datetime import timedelta
    from projects.declaration import (
        Batch, Evaluation, Gates, Governor, Labels, Model, Monitors, Project, Schema, Series, Training, Window
    )


    def rows(first, last):
        number = np.arange(first, last)
        steps = number[:, None] + np.arange(30)
        heights = np.sin(2 * np.pi * steps / 12) + np.random.default_rng(first).normal(0, 0.1, steps.shape)
        return pd.DataFrame({
            "id": [f"t{i:04d}" for i in number],
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number, unit="h"),
            "past": list(heights[:, :24, None]),
            "coming": list(heights[:, 24:, None]),
        })


    def known():
        yield Batch("known", rows(0, 300))


    def later():
        yield Batch("later", rows(300, 380))


    project = Project(
        name="tides",
        task="forecast",
        schema=Schema(
            columns={"past": Series(length=24, channels=("h",)), "coming": Series(length=6, channels=("h",))},
            target="coming", key="id", time="at",
        ),
        source=known,
        changes={"later": later},
        labels=Labels(delay=timedelta(hours=6)),
        model=Model(network="linear"),
        training=Training(epochs=2, learning_rate=0.01),
        evaluation=Evaluation(metric="mae", season=12, exchangeable=True, judge=0.2, anchor=0.1),
        gates=Gates(baseline=False, anchor_rows=0),
        monitors=Monitors(window=Window(rows=40)),
        governor=Governor(retrain="off"),
    )
"""


@dataclass
class Stage:
    """A home with a champion, on the rows' own clock, and the service that answers from it."""

    home: Rehearsal
    running: Running
    project: Project

    @contextmanager
    def replay(self, change: str) -> Iterator[Replay]:
        rows = rows_to_send(self.home, self.project, change, None, None)
        with Service(self.running.url, self.home.settings.service_key) as service:
            yield Replay(self.home, service, lined_up(self.home, self.project, rows))


@dataclass
class Sent:
    """What three commands have done, one after the other, and what stood at each moment of the second."""

    until: Replayed
    broken: Replayed
    command: dict[str, Any]
    moments: list[tuple[str, int, int]]


@contextmanager
def stage(folder: Path, name: str, text: str) -> Iterator[Stage]:
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    project = connect(Settings(home=folder / "untouched", projects=str(folder))).project(name)
    with rehearsal(Settings(home=folder / "untouched"), project, folder / f"{name}.py", Moved()) as home:
        rows = {column: values for column, values in good_rows(project, project.source).items() if column != BATCH}
        known = stream_of(project, rows)
        clock = home.clock
        assert isinstance(clock, Moved)
        first = known.told[-1].astype(datetime).replace(tzinfo=UTC)
        assert Backtest(home, known, clock, "test").start(first).outcome == "promoted"
        with serving(home.settings.home) as running:
            home.settings = home.settings.model_copy(update={"clock": "data", "service_port": running.port})
            yield Stage(home, running, project)


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("turning"), "turning", TURNING) as made:
        yield made


@pytest.fixture(scope="module")
def sent(turning: Stage) -> Sent:
    """Send up to an hour; then on until somebody ends it; then all the rest by the command."""
    with turning.replay("turned") as first:
        first.play(FAST, MIDNIGHT + timedelta(hours=700), lambda: None, lambda *_: None)
    moments = []
    with turning.replay("turned") as second:

        def progress(_share: float, _said: str) -> None:
            moments.append((second.played.reached, second.played.answers, second.played.labels))
            if second.played.answers > 300:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            second.play(FAST, None, lambda: watch(turning.home, "turning"), progress)
    found = commanded(turning, "--speed", "1000d")
    assert found.exit_code == 0, found.output
    return Sent(first.summary(), second.summary(), json.loads(found.stdout), moments)


def commanded(turning: Stage, *more: str, change: str | None = "turned", clock: str = "data") -> Result:
    home, folder = turning.home.settings.home, turning.home.file.parent
    asked = ["replay", "turning", "--home", str(home), "--projects", str(folder), "--json"]
    asked += ["--change", change] if change else []
    variables = {
        "HOLDFAST_SERVICE_PORT": str(turning.running.port),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "HOLDFAST_CLOCK": clock,
    }
    before = dict(os.environ)
    try:
        return CliRunner().invoke(app, [*asked, *more], env=variables)
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_until_ends_the_rows_and_the_labels_too(sent: Sent) -> None:
    assert (sent.until.answers, sent.until.labels, sent.until.waiting) == (101, 89, TRAFFIC - 89)
    assert sent.until.finished


def test_each_row_comes_at_its_own_time_and_its_label_after_the_delay(sent: Sent, turning: Stage) -> None:
    for reached, answers, labels in sent.moments:
        hours = (datetime.fromisoformat(reached) - MIDNIGHT) // timedelta(hours=1)
        assert answers == hours - 700
        assert labels == answers  # the first run left those of its last half day
    one = turning.home.store.predictions.get("turning", "r0750")
    assert one is not None
    assert one.row_time == MIDNIGHT + timedelta(hours=750)


def test_a_replay_that_was_broken_off_goes_on_and_answers_nothing_twice(sent: Sent) -> None:
    broken, rest = sent.broken, sent.command
    assert (broken.known, broken.finished, rest["finished"]) == (101, False, True)
    assert 300 < broken.answers < TRAFFIC - 101
    assert (rest["known"], rest["answers"]) == (101 + broken.answers, TRAFFIC - 101 - broken.answers)
    assert (89 + broken.labels + rest["labels"], rest["waiting"]) == (TRAFFIC, 0)


def test_windows_are_judged_as_the_history_passes_and_the_change_opens_an_incident(sent: Sent, turning: Stage) -> None:
    assert {"drift"} <= {one["kind"] for one in sent.broken.incidents}
    judged = {verdict.check for verdict in turning.home.store.verdicts.all("turning")}
    assert judged == {"data", "performance"}


def test_the_same_command_again_sends_nothing(sent: Sent, turning: Stage) -> None:
    again = json.loads(commanded(turning).stdout)
    assert (again["rows"], again["known"], again["answers"], again["labels"]) == (TRAFFIC, TRAFFIC, 0, 0)
    assert sent.command["rows"] == TRAFFIC


def test_an_injection_is_replayed_as_strong_as_asked_and_each_strength_anew(turning: Stage) -> None:
    until = ("--speed", "1000d", "--until", "2026-01-02")
    whole = json.loads(commanded(turning, *until, "--dial", "1", change="unit").stdout)
    weak = json.loads(commanded(turning, *until, "--dial", "0.25", change="unit").stdout)
    assert (whole["answers"], weak["known"], weak["answers"]) == (25, 0, 25)
    rows = good_rows(turning.project, turning.project.source)
    known = rows["a"][rows["id"].tolist().index("r0003")]
    for dial in ("1", "0.25"):
        one = turning.home.store.predictions.get("turning", f"r0003~unit-{dial}")
        assert one is not None
        sent = unpack_rows(turning.project.schema, [one.features])["a"][0]
        assert sent == pytest.approx(known * 10 ** float(dial))


def test_the_command_refuses_in_one_line(turning: Stage) -> None:
    for found, why in (
        (commanded(turning, clock="wall"), "HOLDFAST_CLOCK=data"),
        (commanded(turning, "--speed", "fast"), "rows a second"),
        (commanded(turning, "--dial", "1"), "the rows of turned are sent as they are: leave out --dial, or name"),
        (commanded(turning, "--dial", "0.6", change=None), "leave out --dial, or name an injection: unit\n"),
    ):
        assert (found.exit_code, found.output.count("\n")) == (1, 1)
        assert why in found.output


def test_a_speed_is_kept_to(turning: Stage, tmp_path: Path) -> None:
    unsent = connect(Settings(home=tmp_path, projects=str(turning.home.file.parent), clock="data"))
    rows = changed(turning.project, "turned", None, (), 0)
    replay = Replay(unsent, Service("http://127.0.0.1:9"), lined_up(unsent, turning.project, rows))
    replay.service.http.close()
    assert np.isclose(Speed(rows=100).a_second(replay.stream) / np.timedelta64(1, "h"), 100, rtol=0.01)
    until = stamp(MIDNIGHT + timedelta(hours=HISTORY + 20))
    steps = list(replay.moments(np.timedelta64(40, "h"), until))
    assert steps[-1] == until
    assert 3 <= len(steps) <= 6  # half a second, looked at five times a second
    unsent.store.close()


def test_a_replay_goes_on_without_reading_what_was_answered_before(turning: Stage, tmp_path: Path) -> None:
    resources = connect(Settings(home=tmp_path, projects=str(turning.home.file.parent), clock="data"))
    stream = lined_up(resources, turning.project, changed(turning.project, "turned", None, (), 0))
    sent = [str(key) for key in stream.rows["id"][:100]]
    resources.store.predictions.append(
        [Prediction(key, "turning", 1, MIDNIGHT, MIDNIGHT, bytes(200_000), {"class": "up"}) for key in sent]
    )
    resources.store.labels.record("turning", [Label(key, "up", MIDNIGHT) for key in sent[:40]], MIDNIGHT)
    tracemalloc.start()
    try:
        replay = Replay(resources, Service("http://127.0.0.1:9"), stream)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    replay.service.http.close()
    assert (np.flatnonzero(replay.answered).tolist(), np.flatnonzero(replay.labelled).tolist()) == (
        list(range(100)),
        list(range(40)),
    )
    resources.store.close()


def test_injected_rows_are_answered_and_their_labels_taken(turning: Stage) -> None:
    found = inject(turning.home, turning.project, "unit", 1.0, ("a",), 60, labels=True)
    assert found.startswith("60 answers under unit, ")
    assert found.endswith("60 labels are new")
    assert "right; 60" in inject(turning.home, turning.project, "turned", None, (), 60, labels=True)


def test_what_can_not_be_sent_says_so_in_one_line(turning: Stage) -> None:
    home, project = turning.home, turning.project
    with pytest.raises(BadSetting, match="no row is left that was not ingested; name --change turned or --since"):
        rows_to_send(home, project, None, None, None)
    assert length(rows_to_send(home, project, None, None, datetime(2026, 1, 20, tzinfo=UTC))) == HISTORY - 19 * 24
    with pytest.raises(BadSetting, match="'turned'"):
        rows_to_send(home, project, "turnd", None, None)
    with pytest.raises(BadSetting, match="can't be put into 'y'"):
        inject(home, project, "unit", 0.5, ("y",), 10, labels=False)
    with pytest.raises(BadSetting, match="leave out --column, or name an injection: unit"):
        inject(home, project, "turned", None, ("a",), 10, labels=False)
    with pytest.raises(BadSetting, match="rows a second"):
        speed_of("-3d")
    with pytest.raises(ServerUnavailable, match="does not answer"), Service("http://127.0.0.1:9") as service:
        service.label("turning", [{"id": "r1", "label": "up"}])


def test_windows_of_a_span_are_not_filled_while_the_walls_clock_judges_them(turning: Stage) -> None:
    at_once = replace(turning.project, labels=Labels())
    live = replace(turning.home, settings=turning.home.settings.model_copy(update={"clock": "wall"}))
    rows = changed(turning.project, "turned", None, (), 0)
    with pytest.raises(BadSetting, match="before their rows or labels come: start it with HOLDFAST_CLOCK=data"):
        lined_up(live, at_once, rows)
    by_count = replace(at_once, monitors=Monitors(window=Window(rows=100)))
    assert len(lined_up(live, by_count, rows)) == TRAFFIC


def test_a_slow_replay_asks_for_the_monitor_four_times_a_window_and_not_at_each_look(turning: Stage) -> None:
    looks, calls = [], []
    with turning.replay("unit") as slow:
        end = MIDNIGHT + timedelta(hours=60)
        slow.play(Speed(span=timedelta(hours=40)), end, lambda: calls.append(1), lambda *_: looks.append(1))
    assert len(calls) <= 4 < len(looks)  # a quarter of a window is 25 hours


def test_a_speed_that_nobody_can_keep_is_refused_and_a_great_one_is_not() -> None:
    for text in ("99999999999999d", "0.0000000001s", "0"):
        with pytest.raises(BadSetting, match="rows a second"):
            speed_of(text)
    assert speed_of("999999w").span == timedelta(weeks=999_999)


def test_without_a_champion_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "turning.py").write_text(textwrap.dedent(TURNING))
    resources = connect(Settings(home=tmp_path / "home", projects=str(tmp_path)))
    with pytest.raises(NoChampion):
        rows_to_send(resources, resources.project("turning"), "turned", None, None)


@pytest.fixture(scope="module")
def tides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A forecast, whose service asks for a key."""
    with stage(tmp_path_factory.mktemp("tides"), "tides", TIDES) as made:
        _, secret = made.home.store.clients.add("somebody", ["predict", "label"], datetime.now(UTC), "a person")
        made.home.settings = made.home.settings.model_copy(update={"service_key": secret})
        asked = f"{made.running.url}/v1/projects"
        assert wait_until(lambda: httpx.get(asked).status_code == 401, 10)
        yield made


def test_a_service_that_asks_for_a_key_is_told_of_by_its_variable(tides: Stage) -> None:
    with Service(tides.running.url) as service, pytest.raises(Declined, match="HOLDFAST_SERVICE_KEY"):
        service.predict("tides", [{"id": "r1", "past": [[0.0]] * 24}])
    with Service(tides.running.url, tides.home.settings.service_key) as service:
        assert len(service.predict("tides", [{"id": "r1", "past": [[0.0]] * 24}])["predictions"]) == 1
        with pytest.raises(Declined, match=r"a number expected, not text \(rows"):
            service.predict("tides", [{"id": "r2", "past": [["high"]] * 24}])


def test_forecasts_are_asked_for_and_their_labels_told(tides: Stage) -> None:
    with tides.replay("later") as replay:
        replay.play(FAST, None, lambda: None, lambda *_: None)
        found = replay.summary()
    assert (found.answers, found.labels, found.waiting) == (80, 80, 0)
    one = tides.home.store.predictions.get("tides", "t0300")
    assert one is not None
    assert np.allclose(one.label, replay.stream.rows["coming"][0])  # type: ignore[arg-type]
    assert "mean absolute error" in inject(tides.home, tides.project, "level", 1.0, (), 20, labels=True)
