from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from data.errors import BadDeclaration
from data.schema import Rows
from projects.declaration import Category, Model, Number, Project, Schema, Training
from tasks.choosing import BATCH, learned
from tasks.plans import Parent, Plan, applied, read, write

SINCE = Plan(since=datetime(2026, 1, 1, 10, tzinfo=UTC))


def project(**training: Any) -> Project:
    schema = Schema(columns={"x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id", time="at")
    model = Model(network="mlp")
    return Project(
        name="p", task="classification", schema=schema, source=list, model=model, training=Training(**training)
    )


def rows(count: int = 1200) -> Rows:
    """One a minute."""
    return {
        "id": np.array([f"r{n}" for n in range(count)], dtype=object),
        "at": np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(1, "m"),
        BATCH: np.repeat(["history", "traffic-20260101T093000-aa", "traffic-20260101T110000-bb"], (700, 100, 400)),
    }


def places(policy: Project, plan: Plan = SINCE, *, warm: bool = False) -> list[int]:
    return np.flatnonzero(learned(policy, rows(), plan, warm=warm)[0]).tolist()


def test_a_window_slides_to_the_newest_rows() -> None:
    assert places(project()) == list(range(1200))
    assert places(project(rows="sliding", newest=200)) == list(range(1000, 1200))
    assert places(project(rows="sliding", newest=9999)) == list(range(1200))


def test_since_the_drift_means_from_its_first_window_on_and_enough_rows() -> None:
    assert places(project(rows="since_drift", newest=100)) == list(range(600, 1200))
    assert places(project(rows="since_drift", newest=800)) == list(range(400, 1200))
    assert places(project(rows="since_drift"), Plan()) == list(range(1200))
    timeless = project(rows="since_drift", newest=100)
    timeless = replace(timeless, schema=replace(timeless.schema, time=None))
    assert places(timeless) == list(range(800, 1200))  # the batches of traffic that landed since


def test_older_rows_are_replayed_to_a_warm_start_and_the_same_ones_each_time() -> None:
    policy = project(rows="sliding", newest=200, start="champion", replay=0.5)
    assert places(policy) == list(range(1000, 1200))
    warm = places(policy, warm=True)
    assert len(warm) == 400
    assert warm == places(policy, warm=True)
    assert len({place // 250 for place in warm if place < 1000}) == 4  # from all over the past
    assert "the newest 200 of 1,200 rows, and 200 older ones" in learned(policy, rows(), SINCE, warm=True)[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rows": "slide"}, "sliding"),
        ({"start": "champoin"}, "champion"),
        ({"replay": 1.0}, "below 1"),
        ({"newest": 0}, "at least 1"),
        ({"tournament": ({"row": "all"},)}, "'rows'"),
        ({"tournament": ({"augment": len},)}, "can't be changed"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadDeclaration, match=said):
        Training(**wrong)


def test_a_plan_is_read_as_it_was_written_and_changes_the_training_it_is_for(tmp_path: Any) -> None:
    plan = Plan(SINCE.since, Parent("6", {"weights.safetensors": "aa"}), "", {"rows": "sliding"}, ({"won": True},))
    write(tmp_path, plan)
    assert read(tmp_path) == plan
    assert read(tmp_path / "none") == Plan()
    changed = applied(project(tournament=({"rows": "sliding"},), epochs=3), plan).training
    assert (changed.rows, changed.epochs, changed.tournament) == ("sliding", 3, ())
