import numpy as np

from bench.rankings import DECAYS, LATELY, SHARE, Setting, Tried, moved_line, origins
from data.schema import Rows
from projects import movies
from tasks.preparation import newest_of_each


def ratings(count: int = 600) -> Rows:
    drawn = np.random.default_rng(0)
    return {
        "key": np.arange(count).astype(str).astype(object),
        "user": drawn.integers(0, 12, count).astype(str).astype(object),
        "movie": drawn.integers(0, 40, count).astype(str).astype(object),
        "rating": drawn.integers(1, 11, count) / 2,
        "at": np.datetime64("2026-01-01", "us") + drawn.permutation(count).astype("timedelta64[h]"),
    }


def test_nobodys_last_fifth_is_chosen_by_and_each_origin_knows_only_what_was_before_it() -> None:
    rows = ratings()
    last = set(rows["key"][newest_of_each(movies.project.schema, rows, SHARE)])
    assert len(last) > 100
    later, earlier = origins(rows)
    for train, judge in (later, earlier):
        assert not last & {*train["key"], *judge["key"]}
        for user in np.unique(rows["user"].astype(str)):
            assert train["at"][train["user"] == user].max() < judge["at"][judge["user"] == user].min()
    assert {*earlier[0]["key"], *earlier[1]["key"]} == set(later[0]["key"])


def test_a_setting_whose_lists_are_not_shown_to_be_better_is_not_chosen_however_well_it_rates() -> None:
    shown, not_shown = (Tried(np.array([error]), 0.09, 0.07, low) for error, low in ((0.9, 0.001), (0.8, -0.001)))
    assert shown.best == 0.9
    assert not_shown.best > shown.best
    assert Tried(np.array([0.8]), 0.09, 0.07, float("nan")).best > shown.best


def test_what_is_declared_is_one_of_the_settings_that_were_tried() -> None:
    declared, training = movies.project.model, movies.project.training
    given = dict(declared.options)
    made = Setting("factors", 16, given["dropout"], training.weight_decay, given["list_dropout"])
    assert training.weight_decay in DECAYS
    assert given["lately"] in LATELY
    assert {**made.model(given["lately"]).options} == {"width": 16, **given}
    assert made.training() == training


def test_the_bias_model_is_moved_by_what_it_leaves_of_the_newest_rows() -> None:
    rows = ratings()
    rows["rating"] = np.where(newest_of_each(movies.project.schema, rows, 0.5), 1.0, 5.0)
    train, judge = origins(rows)[0]
    plain, by_ten, by_twenty, by_all = moved_line(train, judge)
    assert by_ten + 0.5 < by_twenty < plain - 0.2  # of some 32 the newest twelve are low, and those that judge
    assert abs(by_all - plain) < 0.01
