from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.declarations import Window
from monitoring.records import Check
from monitoring.windows import Log, due

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def log_of(times: list[datetime]) -> Log:
    return Log("digits", 3, len(times), max(times, default=None), times.__getitem__)


def judge_all(windows: Window, times: list[datetime], clock: datetime, **more: object) -> list[tuple[int, Check]]:
    judged: list[tuple[int, Check]] = []
    keywords = {"label_delay": timedelta(0), "replaced": False, **more}
    while found := due(windows, log_of(times), judged, clock=clock, **keywords):  # type: ignore[arg-type]
        judged += [(key.index, check) for key, check in found]
    return judged


def test_a_window_of_rows_is_due_when_it_is_full_and_holds_exactly_its_rows() -> None:
    times = [START + HOUR * row for row in range(25)]
    found = due(Window(rows=10), log_of(times), [], clock=times[-1], label_delay=timedelta(0), replaced=False)
    edges = [(key.start_row, key.end_row) for key, check in found if check == "data"]
    assert edges == [(0, 10), (10, 20)]


def test_a_swap_cuts_the_last_window_of_the_old_generation() -> None:
    times = [START + HOUR * row for row in range(25)]
    found = due(Window(rows=10), log_of(times), [], clock=times[-1] + HOUR, label_delay=timedelta(0), replaced=True)
    assert [(key.start_row, key.end_row) for key, check in found if check == "data"][-1] == (20, 25)
    spans = due(Window(span=10 * HOUR), log_of(times), [], clock=times[-1], label_delay=timedelta(0), replaced=True)
    assert [key.index for key, check in spans if check == "data"] == [0, 1, 2]
    assert spans[-1][0].end == times[-1] + timedelta(microseconds=1)


def test_performance_waits_for_the_labels_and_comes_after_the_data_check() -> None:
    times = [START + HOUR * row for row in range(10)]
    early = due(Window(rows=10), log_of(times), [], clock=times[-1], label_delay=24 * HOUR, replaced=False)
    late = due(Window(rows=10), log_of(times), [], clock=times[-1] + 25 * HOUR, label_delay=24 * HOUR, replaced=False)
    assert [check for _, check in early] == ["data"]
    assert [check for _, check in late] == ["data", "performance"]


def test_windows_without_rows_are_due_too_and_those_not_over_are_not() -> None:
    times = [START, START + 5 * HOUR]
    judged = judge_all(Window(span=HOUR), times, clock=START + 6.5 * HOUR)
    assert [index for index, check in judged if check == "data"] == [0, 1, 2, 3, 4, 5]


def test_rows_that_are_older_than_the_first_answer_belong_to_the_first_window() -> None:
    log = replace(log_of([START, START + 3 * HOUR]), oldest=START - 900 * HOUR)
    found = due(Window(span=HOUR), log, [], clock=START + 4 * HOUR, label_delay=9 * HOUR, replaced=False)
    assert [(key.index, key.start) for key, _ in found][:2] == [(0, START - 900 * HOUR), (1, START + HOUR)]
    assert found[0][0].end == START + HOUR


def test_a_day_on_which_clocks_change_has_windows_of_the_same_length() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 24, 12, tzinfo=berlin)  # the clock goes back on the 25th
    clock = datetime(2026, 10, 27, 12, tzinfo=berlin)
    found = due(
        Window(span=timedelta(days=1)),
        log_of([first.astimezone(UTC), clock.astimezone(UTC)]),
        [],
        clock=clock.astimezone(UTC),
        label_delay=timedelta(days=9),
        replaced=False,
    )
    assert {key.end - key.start for key, _ in found} == {timedelta(days=1)}
    assert len(found) == 3


def test_catching_up_after_a_long_outage_goes_on_call_by_call_until_nothing_is_left() -> None:
    judged = judge_all(Window(span=HOUR), [START, START + 2000 * HOUR], clock=START + 1000 * HOUR)
    assert sorted(judged) == sorted((index, check) for index in range(1000) for check in ("data", "performance"))


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 500), min_size=1, max_size=60),
    size=st.integers(1, 20),
    by_rows=st.booleans(),
    looks=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    delay=st.integers(0, 2000),
)
def test_every_window_gets_exactly_one_verdict_a_check_however_often_one_looks(
    gaps: list[int], size: int, by_rows: bool, looks: list[int], delay: int
) -> None:
    times = [START + timedelta(minutes=sum(gaps[: row + 1])) for row in range(len(gaps))]
    windows = Window(rows=size) if by_rows else Window(span=timedelta(minutes=size * 20))
    label_delay, judged = timedelta(minutes=delay), list[tuple[int, Check]]()
    covered: dict[int, tuple[object, ...]] = {}
    for seen in [*sorted(looks), len(times)]:
        known = times[:seen]
        last = seen >= len(times)
        clock = known[-1] + (label_delay + timedelta(days=1) if last else timedelta(0))
        for _ in range(30):
            found = due(windows, log_of(known), judged, clock=clock, label_delay=label_delay, replaced=last)
            if not found:
                break
            judged += [(key.index, check) for key, check in found]
            covered |= {key.index: (key.start_row, key.end_row, key.start, key.end) for key, _ in found}
    assert len(judged) == len(set(judged))
    assert {check for _, check in judged} == {"data", "performance"}
    indexes = sorted(covered)
    assert indexes == list(range(len(indexes)))
    if by_rows:
        assert [covered[index][0] for index in indexes[1:]] == [covered[index][1] for index in indexes[:-1]]
        assert covered[indexes[-1]][1] == len(times)
    else:
        assert all(any(start <= time < end for *_, start, end in covered.values()) for time in times)
