import numpy as np
import pandas as pd

from projects.engines import LONGEST, PAST, SENSORS, fleets, windows


def cycles(engine: str, count: int, after: int, part: str = "train") -> pd.DataFrame:
    readings = {name: np.arange(count) + place / 100 for place, name in enumerate(SENSORS)}
    left = np.arange(count)[::-1] + after
    return pd.DataFrame(
        {"part": part, "engine": engine, "cycle": np.arange(1.0, count + 1), **readings, "remaining": left}
    )


def test_each_engines_last_cycle_ends_a_window_and_no_window_spans_two_engines() -> None:
    rows = windows(pd.concat([cycles("train-001", 33, 0), cycles("train-002", 30, 7), cycles("train-003", 29, 0)]))
    assert rows["key"].tolist() == ["train-001-031", "train-001-033", "train-002-030"]
    assert rows["remaining"].tolist() == [2, 0, 7]
    first, last = rows["past"][0], rows["past"][1]
    assert first.shape == (PAST, len(SENSORS))
    assert (first[:, 0].tolist(), last[-1, 1]) == ([float(at) for at in range(1, 31)], 32.01)


def test_a_life_beyond_what_wear_can_show_is_cut() -> None:
    rows = windows(cycles("train-001", 200, 0), every=10)
    assert rows["remaining"].max() == LONGEST
    assert rows["remaining"].min() == 0


def test_engines_come_ten_a_batch_and_those_of_the_test_apart() -> None:
    both = pd.concat(
        [cycles(f"train-{n:03d}", 31, 0) for n in range(12)] + [cycles("test-001", 31, 50, "test")], ignore_index=True
    )
    assert [(one.name, one.frame["engine"].nunique()) for one in fleets(both)] == [("train-000", 10), ("train-010", 2)]
    (test,) = fleets(both, part="test")
    assert test.frame["remaining"].tolist() == [50]
