import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.limits import Bucket
from serving.refusals import Refused


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_gets_its_rows_a_second_and_is_told_when_to_come_back() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    bucket.take(10)
    with pytest.raises(Refused) as refusal:
        bucket.take(5)
    assert (refusal.value.status, refusal.value.retry_after) == (429, 1)
    assert refusal.value.headers() == [("retry-after", "1")]
    clock.now += 0.5
    bucket.take(5)
    with pytest.raises(Refused):
        bucket.take(1)


def test_a_request_of_more_rows_than_a_second_allows_comes_through_and_is_paid_back() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    bucket.take(1000)
    with pytest.raises(Refused) as refusal:
        bucket.take(1)
    assert refusal.value.retry_after == 100  # 990 owed, and one more
    clock.now += 99.2
    bucket.take(1)
    with pytest.raises(Refused):
        bucket.take(1000)


@given(
    rate=st.integers(1, 50),
    asked=st.lists(st.tuples(st.integers(1, 100), st.floats(0, 3)), min_size=1, max_size=40),
)
def test_no_client_gets_more_than_its_rate_over_any_time(rate: int, asked: list[tuple[int, float]]) -> None:
    clock = Clock()
    bucket, granted, told = Bucket(rate, clock), [], []
    for rows, pause in asked:
        clock.now += pause
        try:
            bucket.take(rows)
        except Refused as refusal:
            told.append(refusal.retry_after)
            clock.now += refusal.retry_after
            bucket.take(rows)  # what it was told holds
        granted.append((clock.now, rows))
    assert all(seconds >= 1 for seconds in told)
    for i, (start, _) in enumerate(granted):
        for j in range(i, len(granted)):
            end, last = granted[j]
            rows = sum(rows for _, rows in granted[i : j + 1])
            assert rows <= rate * (end - start) + rate + max(last - rate, 0) + 1e-3
