from datetime import timedelta

import pytest

from data.errors import BadSetting
from monitoring.declarations import Governor, Monitors, Window
from projects.declaration import Category, Model, Number, Project, Schema, Training
from tasks.backtest_policies import POLICIES, named


def project() -> Project:
    return Project(
        name="p",
        task="classification",
        schema=Schema(columns={"x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id", time="at"),
        source=list,
        model=Model(network="mlp"),
        training=Training(rows="sliding", newest=2000),
        monitors=Monitors(window=Window(span=timedelta(days=2)), k=2, n=3),
        governor=Governor(cooldown=timedelta(days=4), minimum_labels=300),
    )


def test_each_policy_changes_what_it_says_and_declared_changes_nothing() -> None:
    given = project()
    changed = {name: policy.change(given) for name, policy in POLICIES.items()}
    assert changed.pop("declared") == given
    assert all(one != given for one in changed.values())
    assert changed["half-windows"].monitors.window.span == timedelta(days=1)
    assert (changed["patient"].monitors.k, changed["patient"].monitors.n) == (3, 4)
    assert changed["short-rest"].governor.cooldown == timedelta(days=1)
    assert changed["many-labels"].governor.minimum_labels == 600
    assert (changed["since-drift"].training.rows, changed["since-drift"].training.newest) == ("since_drift", 300)


def test_a_policy_nobody_knows_is_refused_by_name_and_all_means_every_one() -> None:
    assert named(("all", "declared")) == list(POLICIES.values())
    assert [one.name for one in named(("patient", "patient"))] == ["patient"]
    with pytest.raises(BadSetting, match="patient"):
        named(("patien",))
