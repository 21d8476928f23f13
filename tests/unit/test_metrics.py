import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from data.errors import BadDeclaration
from models.comparison import gain, sample
from models.metrics import HIGHER_IS_BETTER, bounds, confusion, per_row, score, value_of
from models.resampling import Interval, paired_interval

LEVELS = ("a", "b", "c")


def classes(seed: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.array(LEVELS, dtype=object)[rng.integers(0, 3, rows)]
    values = rng.dirichlet([1, 1, 1], rows).astype(np.float32)
    return truth, values


def theirs(truth: np.ndarray, values: np.ndarray, levels: tuple[str, ...]) -> dict[str, float]:
    codes = np.array([levels.index(one) for one in truth])
    answers = values.argmax(axis=1)
    mean, label = ("binary", 1) if len(levels) == 2 else ("macro", 1)
    every, true = set(range(len(levels))), set(codes.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "accuracy": sk.accuracy_score(codes, answers),
            "balanced_accuracy": sk.balanced_accuracy_score(codes, answers),
            "f1": sk.f1_score(codes, answers, average="macro", zero_division=0),
            "f1_weighted": sk.f1_score(codes, answers, average="weighted", zero_division=0),
            "precision": sk.precision_score(codes, answers, average=mean, pos_label=label, zero_division=0),
            "recall": sk.recall_score(codes, answers, average=mean, pos_label=label, zero_division=0),
            "log_loss": sk.log_loss(codes, values.astype(float), labels=sorted(every)),
        }
        if len(levels) == 2 and 1 in true:
            found["average_precision"] = sk.average_precision_score(codes, values[:, 1])
        if len(levels) > 2 and true == every:
            normal = values / values.sum(axis=1, keepdims=True)
            found["average_precision"] = sk.average_precision_score(np.eye(len(levels))[codes], normal, average="macro")
        if true == every:
            given = values[:, 1] if len(levels) == 2 else values / values.sum(axis=1, keepdims=True)
            found["roc_auc"] = sk.roc_auc_score(codes, given, multi_class="ovr")
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 60), count=st.integers(2, 3), steps=st.sampled_from([4, 10**6]))
def test_metrics_of_classes_are_scikit_learns(seed: int, rows: int, count: int, steps: int) -> None:
    rng, levels = np.random.default_rng(seed), LEVELS[:count]
    truth = np.array(levels, dtype=object)[rng.integers(0, count, rows)]
    values = np.ceil(rng.dirichlet(np.ones(count), rows) * steps)  # few steps: many scores are equal
    values /= values.sum(axis=1, keepdims=True)
    found = score("classification", truth, values, levels)
    expected = theirs(truth, values, levels)
    assert set(found) == {*expected, "calibration_error"}
    for name, number in expected.items():
        assert found[name] == pytest.approx(number, rel=1e-9, abs=1e-12), name


def test_metrics_of_numbers_are_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(50, 9, 300)
    values = (truth + rng.normal(0, 4, 300))[:, None]
    found = score("regression", truth, values)
    for name, expected in {
        "mae": sk.mean_absolute_error,
        "rmse": sk.root_mean_squared_error,
        "r2": sk.r2_score,
        "median_error": sk.median_absolute_error,
    }.items():
        assert found[name] == pytest.approx(expected(truth, values[:, 0]), rel=1e-9)
    assert "r2" not in score("regression", np.ones(5), values[:5])  # nothing varies: undefined, so absent


def test_calibration_error_is_the_mean_distance_of_confidence_from_accuracy_over_fifteen_bins() -> None:
    truth, values = classes(8, 2000)
    values = values / values.sum(axis=1, keepdims=True)
    sure, right = values.max(axis=1), np.array(LEVELS)[values.argmax(axis=1)] == truth
    places = np.minimum((sure * 15).astype(int), 14)
    gaps = [
        abs(sure[places == k].mean() - right[places == k].mean()) * (places == k).mean()
        for k in range(15)
        if (places == k).any()
    ]
    assert score("classification", truth, values, LEVELS)["calibration_error"] == pytest.approx(sum(gaps))


def ranked(seed: int, rows: int, apart: float, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sick = rng.random(rows) < share
    scores = 1 / (1 + np.exp(-(rng.normal(size=rows) + apart * sick)))
    return np.where(sick, "sick", "well").astype(object), np.column_stack([1 - scores, scores])


SICK = ("well", "sick")


def test_an_area_under_the_curve_is_bounded_as_delong_does() -> None:
    truth, values = ranked(1, 4000, 1.2)
    found = bounds("roc_auc", per_row("roc_auc", truth, values, SICK), np.arange(4000))
    inside, outside = values[truth == "sick", 1], values[truth == "well", 1]
    won = inside[:, None] > outside[None, :]
    error = np.sqrt(won.mean(axis=1).var(ddof=1) / len(inside) + won.mean(axis=0).var(ddof=1) / len(outside))
    assert found.estimate == pytest.approx(won.mean())
    assert found.estimate - found.low == pytest.approx(1.645 * error, rel=0.15)
    assert found.high - found.estimate == pytest.approx(1.645 * error, rel=0.15)


def test_an_average_precision_is_bounded_as_reweighted_rows_would_have_it() -> None:
    truth, values = ranked(2, 300, 1.5, share=0.15)
    found = bounds("average_precision", per_row("average_precision", truth, values, SICK), np.arange(300))
    rng = np.random.default_rng(0)
    drawn = [
        sk.average_precision_score(truth == "sick", values[:, 1], sample_weight=rng.exponential(size=300))
        for _ in range(400)
    ]
    assert found.high - found.low == pytest.approx(2 * 1.645 * np.std(drawn), rel=0.2)


def test_few_rows_of_a_class_prove_little_however_well_they_rank() -> None:
    truth = np.array(["sick"] * 5 + ["well"] * 500, dtype=object)
    scores = np.r_[np.full(5, 0.9), np.linspace(0.1, 0.5, 500)]
    for metric in ("roc_auc", "average_precision"):
        found = bounds(metric, per_row(metric, truth, np.column_stack([1 - scores, scores]), SICK), np.arange(505))
        assert found.estimate == 1.0
        assert found.low < 0.7
        assert found.high == 1.0


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_gain_in_ranking_is_shown_where_there_is_one_and_only_there(metric: str) -> None:
    truth, good = ranked(3, 600, 2.0)
    noise = np.random.default_rng(4).normal(size=600)
    worse = np.clip(good[:, 1] + 0.35 * noise, 0, 1)
    alike = np.clip(good[:, 1] + 0.01 * noise, 0, 1)

    def compared(one: np.ndarray, other: np.ndarray) -> Interval:
        rows = sample(metric, truth, np.arange(600), candidate=one, champion=other, levels=SICK)
        assert rows.champion is not None
        return gain(metric, rows, rows.champion)

    def both(scores: np.ndarray) -> np.ndarray:
        return np.column_stack([1 - scores, scores])

    shown = compared(good, both(worse))
    assert shown.low > 0
    assert shown.estimate == pytest.approx(
        score("classification", truth, good, SICK)[metric] - score("classification", truth, both(worse), SICK)[metric]
    )
    back = compared(both(worse), good)
    assert back.high < 0
    tied = compared(good, both(alike))
    assert tied.low < 0 < tied.high
    assert compared(good, good).high == 0.0


def test_rows_of_one_class_leave_a_ranking_undefined_and_pass_nothing() -> None:
    truth = np.array(["well"] * 30, dtype=object)
    values = np.full((30, 2), 0.5)
    found = bounds("roc_auc", per_row("roc_auc", truth, values, SICK), np.arange(30))
    assert not found.finite
    assert "roc_auc" not in score("classification", truth, values, SICK)


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
    for metric in ("accuracy", "f1", "log_loss", "calibration_error", "roc_auc"):
        parts = per_row(metric, truth, values, LEVELS)
        assert np.isnan(parts[17]).all()
        assert np.isfinite(np.delete(parts, 17, axis=0)).all()
    assert all(np.isnan(v) for v in score("regression", np.ones(2), np.array([[1.0], [np.inf]])).values())


def test_a_metric_that_no_sum_decides_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadDeclaration, match="did you mean 'accuracy'"):
        per_row("acuracy", *classes(0), LEVELS)
    assert "median_error" not in HIGHER_IS_BETTER


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
