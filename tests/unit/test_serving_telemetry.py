from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serving.telemetry import SECONDS, Histogram, Telemetry


@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(SECONDS))))
def test_a_histogram_counts_every_value_up_to_each_bound(values: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.add(value)
    buckets = dict(histogram.buckets())
    for bound in SECONDS:
        assert buckets[f"{bound:g}"] == sum(value <= bound for value in values)
    assert buckets["+Inf"] == len(values)
    assert histogram.total == sum(values)


def test_paths_that_strangers_make_up_make_no_new_series() -> None:
    told = Telemetry()
    told.swapped("prices")
    for i in range(1000):
        told.answered("predict", f"made-up-{i}", 404, 0, 0.001)
    told.answered("predict", "prices", 200, 5, 0.001)
    assert told.answers.keys() == {("predict", ""), ("predict", "prices")}
    assert told.answers["predict", ""].refusals == {"unknown": 1000}
    assert told.answers["predict", "prices"].rows == 5


def test_refusals_count_by_reason_and_hide_no_latency() -> None:
    told = Telemetry()
    told.swapped("prices")
    outcomes = [(200, ""), (422, ""), (422, ""), (503, "queue"), (503, ""), (429, "rate"), (499, "")]
    for status, reason in outcomes:
        told.answered("predict", "prices", status, 1, 0.002, reason)
    answers = told.answers["predict", "prices"]
    reasons = {"unfit": 2, "queue": 1, "unavailable": 1, "rate": 1, "client_gone": 1}
    assert Counter(answers.refusals) == reasons
    assert answers.statuses == [0, 0, 1, 0, 4, 2]
    assert sum(answers.seconds.counts) == 3  # what was answered, or should have been
    assert answers.rows == 1
