from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.schema import Category, Number
from models import forgetting
from models.comparison import sample
from models.declarations import Gates
from models.judging import Comparison, Judgement, Sample, judge
from models.slicing import cut

GATES = Gates(anchor_rows=0, baseline=False, slices=("day",), slice_margin=0.05)


def names(column: Number | Category, values: np.ndarray) -> dict[str, int]:
    return {one.name: int(one.which.sum()) for one in cut({"x": column}, {"x": values}, ("x",))}


def rows(wins: int, losses: int, count: int) -> Sample:
    truth = np.full(count, "1", dtype=object)
    candidate, champion = np.tile([0.0, 1.0], (count, 1)), np.tile([0.0, 1.0], (count, 1))
    champion[:wins], candidate[wins : wins + losses] = [1.0, 0.0], [1.0, 0.0]
    return sample("accuracy", truth, np.arange(count), candidate=candidate, champion=champion, levels=("0", "1"))


def compared(**slices: Sample) -> Comparison:
    named = {f"day={day}": one.named(f"day is {day}") for day, one in slices.items()}
    return Comparison(metric="accuracy", fresh=rows(40, 4, 412), champion="6", slices=named)


def results(judgement: Judgement) -> dict[str, str]:
    return {line["gate"]: line["result"] for line in judgement.table() if line["gate"].startswith("slice:")}


def line_of(judgement: Judgement, gate: str) -> dict[str, Any]:
    return next(line for line in judgement.table() if line["gate"] == gate)


def test_levels_are_slices_and_rare_ones_are_one_together() -> None:
    values = np.array(["a"] * 5 + ["b"] * 7 + [None, "(never declared)"], dtype=object)
    found = names(Category(levels=("a", "b"), open=True, nullable=True), values)
    assert found == {"x=b": 7, "x=a": 5, "x=(never declared)": 1, "x=(null)": 1}
    many = np.array([f"{n:02d}" for n in range(30)] * 2 + ["00"], dtype=object)
    found = names(Category(levels=()), many)
    assert len(found) == 21
    assert found["x=00"] == 3
    assert found["x=(other)"] == 20


def test_quartiles_share_the_rows_and_nulls_stand_apart() -> None:
    values = np.r_[np.arange(100.0), np.nan]
    assert names(Number(nullable=True), values) == {"x=Q1": 25, "x=Q2": 25, "x=Q3": 25, "x=Q4": 25, "x=(null)": 1}
    assert names(Number(), np.r_[np.zeros(60), np.arange(1.0, 41.0)]) == {"x=Q1": 60, "x=Q3": 15, "x=Q4": 25}
    assert names(Number(), np.zeros(10)) == {"x=Q1": 10}
    assert names(Number(nullable=True), np.full(3, np.nan)) == {"x=(null)": 3}
    [first, *_] = cut({"x": Number()}, {"x": np.arange(8.0)}, ("x",))
    assert first.about == "x is 0 to 1"


def test_a_slice_that_has_lost_asks_a_person_though_the_whole_is_better() -> None:
    judgement = judge(GATES, compared(mon=rows(2, 2, 300), sun=rows(0, 45, 300)))
    assert judgement.verdict == "question"
    assert results(judgement) == {"slice:day=mon": "passed", "slice:day=sun": "failed"}
    assert "slice:day=sun: \N{MINUS SIGN}15.0 points" in judgement.sentence
    assert "on 300 unseen rows in 300 entities against v6 where day is sun, 5 points tolerated" in judgement.sentence
    assert judge(GATES, compared(sun=rows(0, 45, 300)), waived=("slice:day=sun",)).verdict == "passed"
    worse = replace(compared(sun=rows(0, 45, 300)), fresh=rows(9, 9, 412))
    assert judge(GATES, worse).verdict == "refused"


def test_a_slice_that_can_not_tell_is_shown_and_decides_nothing() -> None:
    judgement = judge(GATES, compared(few=rows(0, 30, 99), noisy=rows(14, 22, 150), held=rows(0, 0, 150)))
    assert judgement.verdict == "passed"
    assert results(judgement) == {"slice:day=few": "shown", "slice:day=noisy": "shown", "slice:day=held": "passed"}
    few, noisy = line_of(judgement, "slice:day=few"), line_of(judgement, "slice:day=noisy")
    assert "insufficient: at least 100 rows in 20 entities are asked" in few["sentence"]
    assert noisy["sentence"].endswith("insufficient to tell")
    assert few["rows"] == 99
    days = replace(rows(0, 45, 300), blocks=np.arange(300) % 19)
    assert results(judge(GATES, compared(few=days))) == {"slice:day=few": "shown"}


def test_slices_are_corrected_together() -> None:
    borderline = rows(8, 22, 150)
    assert results(judge(GATES, compared(one=borderline))) == {"slice:day=one": "failed"}
    beside = {f"d{n}": rows(0, 0, 150) for n in range(30)}
    assert results(judge(GATES, compared(one=borderline, **beside)))["slice:day=one"] == "shown"
    unseen = {f"d{n}": rows(0, 0, 50) for n in range(30)}  # too few rows to be asked anything
    assert results(judge(GATES, compared(one=borderline, **unseen)))["slice:day=one"] == "failed"


def test_of_equal_models_few_lose_a_slice() -> None:
    rng = np.random.default_rng(0)
    lost = 0
    for _ in range(40):
        wins, losses = rng.binomial(150, 0.08, (2, 6))
        drawn = {f"d{n}": rows(int(wins[n]), int(losses[n]), 150) for n in range(6)}
        lost += "failed" in results(judge(GATES, compared(**drawn))).values()
    assert lost <= 5  # 5 % of 40 are 2, and 95 times in 100 at most 5


def test_nan_on_a_slice_is_not_a_pass() -> None:
    broken = rows(0, 0, 300)
    broken.candidate[3] = np.nan
    assert results(judge(GATES, compared(sun=broken))) == {"slice:day=sun": "failed"}


def numbers(truth: float, count: int) -> Sample:
    answers = np.random.default_rng(0).normal(truth, 1, (count, 1))
    return sample("r2", np.full(count, truth), np.arange(count), candidate=answers + 0.5, champion=answers)


@pytest.mark.parametrize("truth", [0.0, 0.1, 3.7, 1e6 / 3])  # of which some have squares that add up inexactly
def test_a_metric_that_a_slice_leaves_undefined_can_not_tell_but_answers_that_are_no_numbers_fail(truth: float) -> None:
    slices = {"day=sun": numbers(truth, 300)}
    comparison = Comparison(metric="r2", fresh=rows(40, 4, 412), champion="6", slices=slices)
    [result] = forgetting.slices(GATES, comparison)
    assert (result.passed, result.stands, result.shown) == (False, False, True)
    assert result.sentence.endswith("insufficient: r2 is not defined on these rows")
    slices["day=sun"].candidate[7] = np.nan
    [result] = forgetting.slices(GATES, comparison)
    assert (result.passed, result.stands, result.shown) == (False, True, False)


def test_a_slice_says_that_its_bounds_are_wider_than_others() -> None:
    alone, shared = compared(mon=rows(2, 2, 300)), compared(mon=rows(2, 2, 300), tue=rows(2, 2, 300))
    assert "wider" not in line_of(judge(GATES, alone), "slice:day=mon")["sentence"]
    said = line_of(judge(GATES, shared), "slice:day=mon")["sentence"]
    assert said.endswith("5 points tolerated; bounds wider than 95 %, so that all 2 slices' hold at once")


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_without_a_champion_slices_are_shown_only(metric: str) -> None:
    truth = np.array(["0", "1"] * 60, dtype=object)
    alone = sample(metric, truth, np.arange(120), candidate=np.tile([0.3, 0.7], (120, 1)), levels=("0", "1"))
    judgement = judge(GATES, Comparison(metric=metric, fresh=alone, slices={"day=sun": alone}))
    assert judgement.verdict == "passed"
    line = line_of(judgement, "slice:day=sun")
    assert line["result"] == "shown"
    assert line["interval"][0] < line["value"] < line["interval"][1]
