import numpy as np
import pytest

from data.errors import BadDeclaration, TooFewRows
from models import metrics
from models.declarations import Evaluation, Threshold
from models.outputs import Cutoff, Outputs, decided
from models.thresholds import choose
from projects.declaration import Category, Model, Number, Project, Schema

LEVELS = ("well", "sick")


def answered(rows: int, seed: int = 0) -> tuple[Outputs, np.ndarray]:
    rng = np.random.default_rng(seed)
    sick = rng.random(rows) < 0.3
    scores = 1 / (1 + np.exp(-(rng.normal(size=rows) + 1.5 * sick - 1.5)))
    return Outputs(np.column_stack([1 - scores, scores]), LEVELS), np.where(sick, "sick", "well").astype(object)


def of(name: str, outputs: Outputs, truth: np.ndarray, cutoff: Cutoff | None) -> float:
    return metrics.score("classification", truth, outputs.values, LEVELS, cutoff)[name]


def test_a_floor_on_recall_holds_on_new_rows_as_often_as_it_was_asked() -> None:
    found = []
    for seed in range(60):
        cutoff = choose(Threshold(level="sick", recall=0.9), *answered(120, seed))
        outputs, truth = answered(1000, 1000 + seed)
        found.append(of("recall", outputs, truth, cutoff))
    assert 0.9 <= np.mean(found) < 0.95


def test_the_highest_cutoff_that_holds_the_recall_is_taken() -> None:
    outputs, truth = answered(400)
    cutoff = choose(Threshold(level="sick", recall=0.9), outputs, truth)
    assert of("recall", outputs, truth, cutoff) >= 0.9
    inside = np.sort(outputs.values[truth == "sick", 1])
    missed = int((inside < cutoff.at).sum())
    assert (missed + 1) / (len(inside) + 1) <= 0.1 < (missed + 2) / (len(inside) + 1)


def test_a_floor_on_precision_finds_the_most_rows_that_keep_it() -> None:
    outputs, truth = answered(800)
    cutoff = choose(Threshold(level="sick", precision=0.8), outputs, truth)
    assert of("precision", outputs, truth, cutoff) >= 0.8
    lower = [Cutoff("sick", at) for at in outputs.values[outputs.values[:, 1] < cutoff.at, 1]]
    assert all(of("precision", outputs, truth, one) < 0.82 for one in lower)
    assert of("recall", outputs, truth, cutoff) > 0.2


@pytest.mark.parametrize(("missed", "alarm"), [(1.0, 1.0), (10.0, 1.0), (1.0, 10.0)])
def test_costs_choose_the_cutoff_that_costs_least(missed: float, alarm: float) -> None:
    outputs, truth = answered(500, 3)
    cutoff = choose(Threshold(level="sick", missed=missed, false_alarm=alarm), outputs, truth)

    def cost(one: Cutoff) -> float:
        said = np.array(LEVELS)[decided(outputs.values, LEVELS, one)]
        return float(
            missed * ((truth == "sick") & (said == "well")).sum() + alarm * ((said == "sick") & (truth == "well")).sum()
        )

    every = [Cutoff("sick", at) for at in [0.0, 1.0, *outputs.values[:, 1]]]
    assert cost(cutoff) == min(map(cost, every))
    assert 0 <= cutoff.at <= 1


def test_the_level_that_is_looked_for_may_be_either() -> None:
    outputs, truth = answered(400)
    cutoff = choose(Threshold(level="well", recall=0.95), outputs, truth)
    said = np.array(LEVELS)[decided(outputs.values, LEVELS, cutoff)]
    assert (said[truth == "well"] == "well").mean() >= 0.95
    assert np.array_equal(decided(outputs.values, LEVELS, cutoff), (outputs.values[:, 0] < cutoff.at).astype(int))


def test_answers_confidences_and_metrics_follow_the_cutoff() -> None:
    outputs = Outputs(np.array([[0.7, 0.3], [0.9, 0.1]]), LEVELS, Cutoff("sick", 0.2))
    assert outputs.predictions.tolist() == ["sick", "well"]
    assert outputs.confidences.tolist() == [0.3, 0.9]
    assert outputs.answers()[0] == {"class": "sick", "confidence": 0.3, "probabilities": {"well": 0.7, "sick": 0.3}}
    truth = np.array(["sick", "sick"], dtype=object)
    assert of("recall", outputs, truth, outputs.cutoff) == 0.5
    assert of("recall", outputs, truth, None) == 0.0
    assert metrics.confusion(truth, outputs.values, LEVELS, outputs.cutoff).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_a_cutoff_says_nothing_of_levels_it_does_not_know_and_goes_before_the_others() -> None:
    values = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert decided(values, ("a", "b", "c"), Cutoff("b", 0.25)).tolist() == [1, 2]
    assert decided(values, ("a", "b", "c"), Cutoff("d", 0.0)).tolist() == [0, 2]


def test_what_validation_rows_can_not_show_is_an_error_that_says_so() -> None:
    outputs, truth = answered(400)
    with pytest.raises(BadDeclaration, match=r"no threshold holds a precision of 0\.999.*the most is"):
        choose(Threshold(level="sick", precision=0.999), outputs, truth)
    some = np.r_[np.flatnonzero(truth == "sick")[:5], np.flatnonzero(truth == "well")[:50]]
    with pytest.raises(TooFewRows, match=r"hold a recall of 0\.9.*9"):
        choose(Threshold(level="sick", recall=0.9), Outputs(outputs.values[some], LEVELS), truth[some])
    with pytest.raises(TooFewRows, match="validation rows with 'sick'"):
        choose(Threshold(level="sick", recall=0.9), outputs, np.full(400, "well", dtype=object))


def test_a_threshold_is_declared_one_way_and_between_two_levels() -> None:
    for wrong in (
        {},
        {"recall": 0.9, "precision": 0.9},
        {"missed": 2.0},
        {"recall": 1.0},
        {"missed": 0.0, "false_alarm": 1.0},
    ):
        with pytest.raises(BadDeclaration, match="Threshold"):
            Threshold(level="sick", **wrong)
    with pytest.raises(BadDeclaration, match="a target of two levels, one of them 'ill'"):
        clinic(LEVELS, "ill")
    with pytest.raises(BadDeclaration, match="a target of two levels"):
        clinic(("a", "b", "c"), "a")
    assert clinic(LEVELS, "sick").evaluation.threshold is not None


def clinic(levels: tuple[str, ...], level: str) -> Project:
    return Project(
        name="clinic",
        task="classification",
        schema=Schema(columns={"age": Number(), "state": Category(levels=levels)}, target="state", key="id"),
        source=list,
        model=Model(network="mlp"),
        evaluation=Evaluation(threshold=Threshold(level=level, recall=0.9)),
    )
