"""What the world has in store, and facts that are joined, on their way into a real registry of batches."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import BadSetting
from data.schema import Rows
from data.sources import Batch
from tasks.changes import changed, held, later, without
from tasks.ingestion import ingest
from tasks.resources import Resources, connect
from tasks.settings import Settings
from tasks.snapshot_rows import gather

FILE = """
    from datetime import timedelta

    import pandas as pd

    from projects.declaration import Batch, Category, Facts, Joined, Model, Number, Project, Schema
    from pathlib import Path

    FACTS = Path(__file__).with_name("weather.csv")


    def days():
        for day in range(3):
            at = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=day)
            yield Batch(f"2026-01-0{day + 1}", pd.DataFrame({
                "id": [f"{day}-{hour}" for hour in range(24)],
                "town": ["north", "south"] * 12,
                "at": [at + pd.Timedelta(hours=hour) for hour in range(24)],
                "sold": ["no", "yes"] * 12,
            }))


    def third_day():
        yield list(days())[2]


    project = Project(
        name="stalls",
        task="classification",
        schema=Schema(
            columns={
                "town": Category(levels=("north", "south")),
                "weather_warmth": Number(nullable=True),
                "sold": Category(levels=("no", "yes")),
            },
            target="sold", key="id", time="at",
        ),
        source=Joined(days, time="at", facts={
            "weather": Facts(lambda: pd.read_csv(FACTS), key="town", time="known", columns=("warmth",)),
        }),
        changes={"third_day": Joined(third_day, time="at", facts={
            "weather": Facts(lambda: pd.read_csv(FACTS), key="town", time="known", columns=("warmth",)),
        })},
        model=Model(network="mlp"),
    )
"""
WEATHER = "town,known,warmth\nnorth,2026-01-01T12:00:00Z,20.0\n"


@pytest.fixture
def stalls(tmp_path: Path) -> Resources:
    (tmp_path / "stalls.py").write_text(textwrap.dedent(FILE))
    (tmp_path / "weather.csv").write_text(WEATHER)
    return connect(Settings(home=tmp_path / "home", projects=str(tmp_path)))


def rows_in(resources: Resources, cache: Path) -> Rows:
    return gather(
        resources.batches, resources.batches.snapshot("stalls"), resources.project("stalls").schema, cache
    ).all()


def test_a_late_fact_reaches_new_batches_and_rewrites_no_accepted_one(stalls: Resources, tmp_path: Path) -> None:
    ingest(stalls, "stalls", hold="third_day")
    before = stalls.batches.snapshot("stalls")
    rows = rows_in(stalls, tmp_path / "cache")
    known = ~np.isnan(rows["weather_warmth"])
    north = rows["town"] == "north"
    assert (known == (north & (rows["at"] >= np.datetime64("2026-01-01T12:00")))).all()
    (tmp_path / "weather.csv").write_text(WEATHER + "south,2026-01-01T00:00:00Z,5.0\n")
    ingest(stalls, "stalls")
    assert stalls.batches.snapshot("stalls").hash == before.hash
    new = later(stalls.project("stalls"), "third_day")
    assert set(new["weather_warmth"][new["town"] == "south"]) == {5.0}
    stalls.store.close()


def test_what_is_held_back_stays_out_of_every_later_ingest(stalls: Resources, tmp_path: Path) -> None:
    project = stalls.project("stalls")
    with pytest.raises(BadSetting, match="'third_day'"):
        ingest(stalls, "stalls", hold="third_da")
    report = ingest(stalls, "stalls", hold="third_day")
    assert "2 of 2 batches are new, 48 rows accepted" in report.sentence
    assert held(stalls, project) == "third_day"
    ingest(stalls, "stalls")
    ingest(stalls, "stalls", hold="third_day")
    assert {key[0] for key in rows_in(stalls, tmp_path / "cache")["id"]} == {"0", "1"}
    assert [line.subject for line in stalls.store.ledger.decisions("stalls", kinds=("hold",))] == ["change third_day"]
    stalls.store.close()


def test_rows_that_were_accepted_before_they_were_held_back_are_told_of(stalls: Resources, tmp_path: Path) -> None:
    ingest(stalls, "stalls")
    report = ingest(stalls, "stalls", hold="third_day")
    assert "stay in 2026-01-03, accepted before: only a fresh home" in report.sentence
    assert {key[0] for key in rows_in(stalls, tmp_path / "cache")["id"]} == {"0", "1", "2"}
    stalls.store.close()


def test_a_strength_for_what_has_none_is_refused_with_what_has_one(tmp_path: Path) -> None:
    digits = connect(Settings(home=tmp_path)).project("digits")
    with pytest.raises(BadSetting, match=r"leave out --dial, or name an injection: new_cameras$"):
        changed(digits, "dead_frames", 0.5, (), seed=0)
    assert np.ptp(changed(digits, "dead_frames", None, (), seed=0)["image"]) == 0


def test_keys_that_pandas_read_as_floats_are_held_back_like_others() -> None:
    given = Batch("mixed", pd.DataFrame({"id": [1.0, 2.0, float("nan")], "x": [1, 2, 3]}))
    kept = without(given, "id", frozenset({"1"}))
    assert kept is not None
    assert kept.frame["x"].tolist() == [2, 3]
