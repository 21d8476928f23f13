import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from data.errors import BadDeclaration
from models.metrics import HIGHER_IS_BETTER, bounds, confusion, per_row, score, value_of
from models.resampling import paired_interval

LEVELS = ("a", "b", "c")


def classes(seed: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.array(LEVELS, dtype=object)[rng.integers(0, 3, rows)]
    values = rng.dirichlet([1, 1, 1], rows).astype(np.float32)
    return truth, values


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 60), metric=st.sampled_from(["accuracy", "f1", "log_loss"]))
def test_parts_of_a_classification_metric_add_up_to_scikit_learns(seed: int, rows: int, metric: str) -> None:
    truth, values = classes(seed, rows)
    found = value_of(metric, per_row(metric, truth, values, LEVELS).sum(axis=0))
    assert found == pytest.approx(score("classification", truth, values, LEVELS)[metric], rel=1e-12)


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_parts_of_a_regression_metric_add_up_to_scikit_learns(metric: str) -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(50, 9, 300)
    values = (truth + rng.normal(0, 4, 300))[:, None]
    found = value_of(metric, per_row(metric, truth, values).sum(axis=0))
    assert found == pytest.approx(score("regression", truth, values)[metric], rel=1e-9)


def test_a_level_the_model_never_saw_counts_as_wrong() -> None:
    truth = np.array(["a", "new"], dtype=object)
    values = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0]])
    assert value_of("accuracy", per_row("accuracy", truth, values, LEVELS).sum(axis=0)) == 0.5
    scores = score("classification", truth, values, LEVELS)
    assert scores["accuracy"] == 0.5
    assert "roc_auc" not in scores  # one true class only: undefined, so absent
    assert confusion(truth, values, LEVELS).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_one_answer_that_is_not_a_number_spoils_every_metric() -> None:
    truth, values = classes(0)
    values[17, 1] = np.nan
    assert all(np.isnan(value) for value in score("classification", truth, values, LEVELS).values())
    for metric in ("accuracy", "f1", "log_loss"):
        parts = per_row(metric, truth, values, LEVELS)
        assert np.isnan(parts[17]).all()
        assert np.isfinite(np.delete(parts, 17, axis=0)).all()
    assert all(np.isnan(v) for v in score("regression", np.ones(2), np.array([[1.0], [np.inf]])).values())


def test_a_metric_that_no_sum_decides_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadDeclaration, match="did you mean 'accuracy'"):
        per_row("acuracy", *classes(0), LEVELS)
    assert "roc_auc" not in HIGHER_IS_BETTER


def test_an_accuracy_is_bounded_as_clopper_and_pearson_do() -> None:
    parts = np.column_stack([np.r_[np.ones(97), np.zeros(3)], np.ones(100)])
    found = bounds("accuracy", parts, np.arange(100))
    # scipy.stats.beta.ppf(.05, 97, 4) and (.95, 98, 3)
    assert (found.low, found.high) == pytest.approx((0.9243, 0.9917), abs=0.002)
    perfect = bounds("accuracy", np.ones((100, 2)), np.arange(100))
    assert perfect.estimate == 1.0
    assert perfect.low == pytest.approx(0.05 ** (1 / 100), abs=0.002)


@pytest.mark.parametrize(("wins", "losses"), [(4, 0), (5, 0), (6, 1), (7, 1), (9, 3), (10, 3), (30, 18), (31, 18)])
def test_where_rows_are_right_or_wrong_the_bound_is_mcnemars_exact_test(wins: int, losses: int) -> None:
    from scipy.stats import binomtest

    score_of = np.r_[np.ones(wins), -np.ones(losses), np.zeros(500 - wins - losses)]
    candidate = np.column_stack([score_of > 0, np.ones(500)]).astype(float)
    champion = np.column_stack([score_of < 0, np.ones(500)]).astype(float)
    found = paired_interval(lambda sums: value_of("accuracy", sums), candidate, champion, np.arange(500))
    p_value = binomtest(wins, wins + losses, alternative="greater").pvalue
    assert (found.low > 0) is bool(p_value < 0.05)


def test_rows_of_one_block_count_as_one_witness() -> None:
    rng = np.random.default_rng(3)
    blocks = np.repeat(np.arange(40), 25)
    errors = np.column_stack([np.repeat(rng.normal(0.05, 1, 40), 25), np.ones(1000)])
    nothing = np.column_stack([np.zeros(1000), np.ones(1000)])
    by_block = paired_interval(lambda sums: value_of("mae", sums), errors, nothing, blocks)
    by_row = paired_interval(lambda sums: value_of("mae", sums), errors, nothing, np.arange(1000))
    assert by_block.blocks == 40
    assert 3 < (by_block.high - by_block.low) / (by_row.high - by_row.low) < 7  # sqrt(25)


# sklearn's own check of what it counts by name
def test_f1_is_the_mean_over_classes() -> None:
    truth, values = classes(5)
    answers = np.array(LEVELS, dtype=object)[values.argmax(axis=1)]
    assert score("classification", truth, values, LEVELS)["f1"] == pytest.approx(
        sk.f1_score(truth.astype(str), answers.astype(str), average="macro")
    )
