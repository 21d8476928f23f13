from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import Category, Image, Number
from monitoring.binning import Incomputable, bin_column, binning_from_json, count, encode, printable
from monitoring.statistics import components, effect, null_of, score

OBJECTS = st.one_of(st.none(), st.text(max_size=3), st.just(float("nan")), st.sampled_from(["a", "b", "\ud800"]))


def objects(values: list[Any]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=60), st.lists(st.floats(), min_size=1, max_size=60))
def test_every_number_falls_into_exactly_one_bin(known: list[float], seen: list[float]) -> None:
    binning = bin_column(Number(), np.array(known, dtype=np.float64))
    counts = count(binning, np.array(seen))
    assert counts.sum() == len(seen)
    assert len(counts) == binning.bins == len(binning.names)
    assert counts[-1] == np.isnan(seen).sum()
    known_counts = count(binning, np.array(known, dtype=np.float64))
    assert known_counts[-2] == (np.isinf(known).sum() if binning.kind == "values" else 0)


@settings(max_examples=80, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=60), st.lists(OBJECTS, min_size=1, max_size=60))
def test_every_level_falls_into_exactly_one_bin_and_unseen_ones_into_their_own(
    known: list[Any], seen: list[Any]
) -> None:
    binning = bin_column(Category(levels=("a",), open=True), objects(known))
    counts = count(binning, objects(seen))
    assert counts.sum() == len(seen)
    shown = {level for level in known if isinstance(level, str)}
    assert counts[-2] == sum(isinstance(level, str) and level not in shown for level in seen)
    assert np.array_equal(counts, np.bincount(encode(binning, objects(seen)), minlength=binning.bins))
    assert binning_from_json(binning.to_json()) == binning


def test_a_number_of_few_values_has_a_bin_a_value_and_a_new_value_is_unseen() -> None:
    binning = bin_column(Number(), np.array([0.0, 0.3, 1.0] * 50))
    assert count(binning, np.array([0.1 + 0.2, 1.0, 0.5, 7.0, np.nan, np.inf])).tolist() == [0, 1, 1, 3, 1]


def test_a_point_mass_keeps_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(500), np.random.default_rng(0).normal(10, 1, 500)])
    binning = bin_column(Number(), values)
    assert count(binning, values)[0] == 500


def test_rare_levels_share_a_bin() -> None:
    binning = bin_column(Category(levels=("x",), open=True), objects(["a"] * 500 + ["b"] * 497 + ["p", "q", "q"]))
    assert binning.levels == ("a", "b")
    assert count(binning, objects(["p", "q", "a", "new", None])).tolist() == [1, 0, 2, 1, 1]
    assert binning.novel == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Number(), objects(["1.5", "2"])),
        (Number(), np.zeros((3, 2))),
        (Number(), np.array(["2026-01-01"], dtype="datetime64[D]")),
        (Category(levels=("a",)), objects([["a"], {}])),
        (Category(levels=("a",)), np.empty((2, 2), dtype=object)),
        (Image(height=1, width=1), np.zeros((1, 1, 1), np.uint8)),
    ],
)
def test_values_that_have_no_bins_are_named(column: Any, values: np.ndarray) -> None:
    with pytest.raises(Incomputable):
        bin_column(column, values)


def test_the_components_do_not_depend_on_the_sizes_when_nothing_changed() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(20, 1 / 20)
    for reference, window in ((400, 200), (5000, 200), (2000, 20_000)):
        drawn = components(rng.multinomial(reference, shares, 2000), rng.multinomial(window, shares, 2000), 20)
        assert drawn[:, 0].mean() == pytest.approx(19, rel=0.05)
        assert drawn[:, 1].mean() == pytest.approx(0.95, rel=0.1)


def test_a_window_equal_to_its_reference_scores_lowest_and_a_shift_scores_by_its_size() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=4000)
    binning = bin_column(Number(), known)
    counts = count(binning, known)
    null = null_of(components(counts, rng.multinomial(200, counts / counts.sum(), 500), binning.ordered))
    found = []
    for shift in (0.0, 0.2, 0.5, 1.0):
        window = count(binning, known[:1000] + shift)
        found.append(float(score(components(counts, window, binning.ordered), null)))
        assert effect(counts, window, binning.ordered) == pytest.approx(0.8 * shift, abs=0.15)
    assert found == sorted(found)
    assert float(score(components(counts, counts, binning.ordered), null)) < found[0] + 1e-9


def test_one_odd_row_in_a_column_that_never_changed_is_no_alarm_and_some_are() -> None:
    binning = bin_column(Number(), np.ones(20_000))
    counts = count(binning, np.ones(20_000))
    null = null_of(np.zeros((100, 2)))
    scores = [
        float(score(components(counts, count(binning, np.array([1.0] * (200 - odd) + [0.0] * odd)), 1), null))
        for odd in (0, 1, 6)
    ]
    assert scores[1] < 2 < 3.5 < scores[2]


def test_what_data_says_is_printable() -> None:
    assert printable("a\ud800\n\u2028<b>" + "x" * 99) == "a\\ud800\\u000a\\u2028<b>" + "x" * 33 + "…"
