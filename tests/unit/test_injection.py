import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.columns import Audio, Column, Image, Number, Series, Text
from data.injection import INJECTIONS, blurred, dead_frames, new_cameras

HIGH = 16


def pictures(count: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, HIGH + 1, (count, 8, 8)).astype(np.uint8)


def drawn(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dial", [0.0, -1.0])
def test_dial_at_nothing_changes_nothing(dial: float) -> None:
    given_, generator = pictures(), drawn()
    taken = new_cameras(given_, dial, generator, HIGH)
    assert (taken == given_).all()
    assert taken is not given_
    assert generator.random() == drawn().random()  # and draws nothing


@given(dial=st.floats(0.01, 1.0), seed=st.integers(0, 5), high=st.sampled_from([1, 16, 255]))
@settings(max_examples=25, deadline=None)
def test_pictures_stay_pictures_of_the_same_kind(dial: float, seed: int, high: int) -> None:
    given_ = np.random.default_rng(seed).integers(0, high + 1, (4, 8, 8)).astype(np.uint8)
    before = given_.copy()
    taken = new_cameras(given_, dial, drawn(seed), high)
    assert taken.shape == given_.shape
    assert taken.dtype == np.uint8
    assert taken.max() <= high
    assert (given_ == before).all()


def test_new_cameras_see_paler_the_further_the_dial_is_turned() -> None:
    given_ = pictures(200)
    contrast = [float(new_cameras(given_, dial, drawn(), HIGH).std()) for dial in (0.0, 0.3, 0.6, 1.0)]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[-1] < contrast[0] / 2


def test_the_same_seed_takes_the_same_pictures() -> None:
    once, again = (new_cameras(pictures(), 0.7, drawn(3), HIGH) for _ in range(2))
    assert (once == again).all()
    assert (once != new_cameras(pictures(), 0.7, drawn(4), HIGH)).any()


def test_blur_spreads_a_point_over_its_neighbours_and_leaves_an_even_picture() -> None:
    point = np.zeros((1, 5, 5))
    point[0, 2, 2] = 9.0
    assert blurred(point)[0, 1:4, 1:4].ravel().tolist() == pytest.approx([1.0] * 9)
    assert blurred(point).sum() == pytest.approx(9.0)
    assert np.allclose(blurred(np.full((2, 4, 4), 0.3)), 0.3)


def test_dead_frames_are_one_constant_within_range() -> None:
    frames = dead_frames(pictures(), HIGH)
    assert frames.shape == pictures().shape
    assert frames.dtype == np.uint8
    assert len(np.unique(frames)) == 1
    assert 0 <= frames.max() <= HIGH


CLIPS = np.random.default_rng(0).integers(-9000, 9000, (20, 400)).astype(np.int16)
TEXTS = np.array([f"parcel number {at} came late" for at in range(20)], dtype=object)
WINDOWS = np.random.default_rng(0).normal(50, 5, (20, 12, 2))
PRICES = np.linspace(1, 90, 20).round()
INTO: list[tuple[str, Column, np.ndarray]] = [
    ("new_cameras", Image(height=8, width=8, channels=3), np.repeat(pictures()[..., None], 3, axis=3)),
    ("dead_frames", Image(height=8, width=8, high=HIGH), pictures()),
    ("noise", Audio(rate=8000, seconds=0.05), CLIPS),
    ("typos", Text(longest=60), TEXTS),
    ("level", Series(length=12, channels=("a", "b")), WINDOWS),
    ("gap", Series(length=12, channels=("a", "b"), nullable=True), WINDOWS),
    ("unit", Number(low=0, high=500, integer=True), PRICES),
]


@pytest.mark.parametrize(("name", "column", "values"), INTO, ids=[name for name, _, _ in INTO])
def test_a_change_of_each_kind_shows_and_leaves_values_that_the_column_takes(
    name: str, column: Column, values: np.ndarray
) -> None:
    one, before = INJECTIONS[name], values.copy()
    assert one.fits(column)
    taken = one.apply(column, values, 1.0, drawn())
    assert (taken.shape, taken.dtype) == (values.shape, values.dtype)
    assert column.unlike(taken, values).mean() > 0.9
    assert not any(bad.any() for bad, _ in column.objections(taken))
    assert not column.unlike(values, before).any()
    if one.dialled:
        assert not column.unlike(one.apply(column, values, 0.0, drawn()), values).any()


def test_every_change_is_for_one_kind_only_and_a_gap_only_where_there_may_be_one() -> None:
    assert {name for name, _, _ in INTO} == set(INJECTIONS)
    for name, injection in INJECTIONS.items():
        fitting = [column for other, column, _ in INTO if injection.fits(column)]
        assert {type(column) for column in fitting} == {type(column) for other, column, _ in INTO if other == name}
    assert not INJECTIONS["gap"].fits(Series(length=12, channels=("a",)))
