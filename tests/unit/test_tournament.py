from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import BadDeclaration, TooFewRows
from data.schema import Rows
from models.comparison import sample
from models.gates import better
from models.judging import Comparison
from models.metrics import per_row, value_of
from monitoring.records import Generation
from projects.declaration import Category, Evaluation, Labels, Model, Number, Project, Schema, Training
from tasks.plans import Parent, Plan
from tasks.preparation import roles
from tasks.resources import Resources
from tasks.role_files import most_held
from tasks.settings import Settings
from tasks.tournament import SHARE, barred, best, contested, fair, selection

LEVELS = ("0", "1")


def right(rng: np.random.Generator, truth: np.ndarray, accuracy: float) -> np.ndarray:
    wrong = rng.random(len(truth)) >= accuracy
    return np.eye(2)[(truth.astype(int) + wrong) % 2]


def chosen(truth: np.ndarray, answers: list[np.ndarray]) -> int:
    scores = [float(value_of("accuracy", per_row("accuracy", truth, one, LEVELS).sum(axis=0))) for one in answers]
    return best("accuracy", scores)


def passes(truth: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> bool:
    rows = sample("accuracy", truth, np.arange(len(truth)), candidate=candidate, champion=champion, levels=LEVELS)
    return better(Comparison("accuracy", rows, champion="6")).passed


def alike(rng: np.random.Generator, truth: np.ndarray, known: np.ndarray, accuracy: float) -> np.ndarray:
    """Answers of a model as good as the known one, that differs from it in 9 rows of 100, as often either way."""
    hit = known[np.arange(len(truth)), truth.astype(int)] == 1
    turned = rng.random(len(truth)) < np.where(hit, 0.045 / accuracy, 0.045 / (1 - accuracy))
    return np.where(turned[:, None], 1 - known, known)


def test_the_best_of_eight_equal_models_is_promoted_by_the_rows_that_chose_it_and_not_by_others() -> None:
    rng = np.random.default_rng(1)
    worlds, by_judge_rows, by_earlier_rows = 150, 0, 0
    for _ in range(worlds):
        earlier, judging = (rng.integers(0, 2, 1000).astype(str).astype(object) for _ in range(2))
        then, champion = (right(rng, truth, 0.85) for truth in (earlier, judging))
        before = [alike(rng, earlier, then, 0.85) for _ in range(8)]
        now = [alike(rng, judging, champion, 0.85) for _ in range(8)]
        by_judge_rows += passes(judging, now[chosen(judging, now)], champion)
        by_earlier_rows += passes(judging, now[chosen(earlier, before)], champion)
    assert by_judge_rows / worlds > 0.2  # of independent tests at 5 %, one of 8 passes in 34 %
    assert by_earlier_rows / worlds < 0.09


def test_the_best_is_the_first_of_equals_and_never_one_without_a_value() -> None:
    assert best("accuracy", [0.8, 0.9, None, 0.9]) == 1
    assert best("mae", [0.8, 0.9, None, 0.7]) == 3
    with pytest.raises(BadDeclaration, match="no contestant"):
        best("mae", [None, None])


def project(**changed: Any) -> Project:
    schema = Schema(
        columns={"x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id", time="at", entity="owner"
    )
    return Project(name="p", task="classification", schema=schema, source=list, model=Model(network="mlp"), **changed)


def rows(count: int = 48 * 40) -> Rows:
    return {
        "id": np.array([f"r{n}" for n in range(count)], dtype=object),
        "owner": np.array([f"o{n // 4}" for n in range(count)], dtype=object),
        "at": np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(30, "m"),
    }


def test_contestants_are_chosen_by_training_rows_before_those_that_judge() -> None:
    by_time, stream = project(labels=Labels(delay=timedelta(days=1))), rows()
    found = roles(by_time, stream)
    dealt = selection(by_time, stream, found)
    assert set(found[dealt != ""]) == {"train"}
    learned, selecting = stream["at"][dealt == "train"], stream["at"][dealt == "judge"]
    assert selecting.min() - learned.max() > np.timedelta64(24, "h")
    assert selecting.max() < stream["at"][found == "judge"].min()
    assert (dealt == "judge").sum() == pytest.approx(SHARE * (found == "train").sum(), rel=0.05)


def test_an_entity_selects_or_trains_whole_where_rows_are_exchangeable() -> None:
    exchangeable, stream = project(evaluation=Evaluation(exchangeable=True)), rows(4000)
    found = roles(exchangeable, stream)
    dealt = selection(exchangeable, stream, found)
    assert set(found[dealt != ""]) == {"train"}
    assert not set(stream["owner"][dealt == "judge"]) & set(stream["owner"][dealt == "train"])
    assert (dealt == "judge").sum() == pytest.approx(SHARE * (found == "train").sum(), rel=0.2)


@pytest.mark.parametrize("exchangeable", [True, False])
def test_no_more_rows_select_than_may_judge(exchangeable: bool, tmp_path: Path) -> None:
    tight, stream = (
        project(training=Training(resident=1), evaluation=Evaluation(exchangeable=exchangeable)),
        rows(40_000),
    )
    resources, most = Resources(Settings(home=tmp_path)), most_held(tight) // 4
    dealt = selection(tight, stream, roles(tight, stream))
    found, _ = contested(resources, tight, Plan(), stream)
    assert (dealt == "judge").sum() > 4 * most
    assert (found == "judge").sum() == most
    assert (dealt[found == "judge"] == "judge").all()
    assert ((found == "train") == (dealt == "train")).all()


def test_rows_that_the_champion_learned_from_select_nothing_that_starts_from_it(tmp_path: Path) -> None:
    contestant, stream = project(training=Training(tournament=({"start": "champion"},))), rows()
    dealt = selection(contestant, stream, roles(contestant, stream))
    resources = Resources(Settings(home=tmp_path))
    selecting = np.sort(stream["at"][dealt == "judge"])

    def served(number: int, cut: np.datetime64) -> Plan:
        newest, now = datetime.fromtimestamp(int(cut.astype(int)) / 1e6, UTC), resources.now()
        made = Generation("p", number, str(number), "a run", "aa", now, "a test", "a test", [], cut=newest)
        resources.store.ledger.append_generation(number - 1, made)
        return Plan(parent=Parent(str(number), {}), changes={"start": "champion"})

    plan = served(1, selecting[100])
    found, unfair = fair(resources, contestant, plan, stream, dealt)
    assert stream["at"][found == "judge"].min() > selecting[100]
    assert ((found == "train") == (dealt == "train")).all()
    assert barred(contestant, plan, unfair) is None
    plan = served(2, selecting[-5])
    found, unfair = fair(resources, contestant, plan, stream, dealt)
    assert (found == dealt).all()
    entry = barred(contestant, plan, unfair)
    assert entry is not None
    assert entry["value"] is None
    assert "that version 2 did not learn from" in entry["why"]
    assert barred(contestant, replace(plan, changes={}), unfair) is None  # from scratch
    warm = replace(contestant, training=Training(start="champion"))
    with pytest.raises(TooFewRows, match="version 2"):
        barred(warm, replace(plan, changes={}), unfair)
    assert fair(resources, contestant, Plan(), stream, dealt) == (dealt, None)
    resources.store.close()
