from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadDeclaration, SchemaMismatch, SourceUnavailable
from data.joining import Facts, Joined, as_of
from data.sources import Batch, Files, fetch

DAY = np.datetime64("2026-01-01", "us")
ROWS = pd.DataFrame(
    {
        "id": ["1", "2", "3", "4"],
        "who": ["ann", "ann", "bob", None],
        "at": ["2026-01-01", "2026-01-03", "2026-01-03", "2026-01-03"],
    }
)
PLANS = pd.DataFrame(
    {
        "who": ["ann", "ann", "bob"],
        "since": ["2026-01-02", "2026-01-03", "2026-01-04"],
        "plan": ["free", "paid", "paid"],
        "seats": [1, 5, 3],
    }
)
moments = st.integers(0, 30)
facts = st.lists(st.tuples(st.sampled_from("abc"), moments), max_size=25, unique=True)
asks = st.lists(st.tuples(st.one_of(st.none(), st.sampled_from("abcd")), st.one_of(st.none(), moments)), max_size=25)


def batches(rows: pd.DataFrame) -> Callable[[], Iterator[Batch]]:
    return lambda: iter([Batch("one", rows)])


def joined(rows: pd.DataFrame = ROWS, plans: pd.DataFrame = PLANS, **more: object) -> pd.DataFrame:
    made = Facts(source=lambda: plans, key="who", time="since", columns=("plan", "seats"), **more)  # type: ignore[arg-type]
    [batch] = fetch(Joined(batches(rows), time="at", facts={"plan": made}))
    return batch.frame


def days(numbers: list[int | None]) -> np.ndarray:
    return np.array(["NaT" if one is None else DAY + one * np.timedelta64(1, "D") for one in numbers], "datetime64[us]")


def arrays(pairs: list[tuple[str | None, int | None]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([key for key, _ in pairs], dtype=object), days([at for _, at in pairs])


@given(told=facts, asked=asks, within=st.one_of(st.none(), st.integers(0, 10)), seed=st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_each_row_gets_the_newest_fact_of_its_key_that_is_not_later_in_whatever_order_facts_arrive(
    told: list[tuple[str, int]], asked: list[tuple[str | None, int | None]], within: int | None, seed: int
) -> None:
    told = [told[i] for i in np.random.default_rng(seed).permutation(len(told))]
    age = None if within is None else timedelta(days=within)
    found = as_of(*arrays(list(told)), *arrays(asked), age)
    for (key, at), place in zip(asked, found.tolist(), strict=True):
        fitting = [one for one in told if one[0] == key and at is not None and one[1] <= at]
        fitting = [one for one in fitting if within is None or (at or 0) - one[1] <= within]
        assert (told[place] if place >= 0 else None) == max(fitting, key=lambda one: one[1], default=None)


def test_a_fact_of_the_rows_own_moment_counts_and_what_is_not_known_is_null() -> None:
    found = joined()
    assert list(found.columns) == ["id", "who", "at", "plan_plan", "plan_seats"]
    assert found["plan_plan"].where(found["plan_plan"].notna(), None).tolist() == [None, "paid", None, None]
    assert found["plan_seats"].tolist()[1] == 5
    assert found["id"].tolist() == ROWS["id"].tolist()


def test_facts_that_are_too_old_are_none() -> None:
    rows = ROWS.assign(at="2026-01-09")
    assert joined(rows)["plan_plan"].notna().tolist() == [True, True, True, False]
    assert joined(rows, within=timedelta(days=5))["plan_plan"].notna().tolist() == [False, False, True, False]


def test_two_facts_of_one_moment_are_refused_or_the_last_counts_and_the_same_fact_twice_is_one() -> None:
    twice = pd.concat([PLANS, PLANS.tail(1)])
    assert joined(plans=twice).equals(joined())
    differing = pd.concat([PLANS, PLANS.assign(plan="none").iloc[[1]]])
    with pytest.raises(SourceUnavailable, match="two things of 'ann' at 2026-01-03"):
        joined(plans=differing)
    assert joined(plans=differing, repeated="last")["plan_plan"].tolist()[1] == "none"


def test_keys_are_told_apart_as_text_and_may_have_another_name_in_the_base() -> None:
    rows = pd.DataFrame({"id": ["1", "2"], "house": [7, 8], "at": ["2026-02-01", "2026-02-01"]})
    plans = PLANS.assign(who=[7.0, 7.0, 8.0])
    assert joined(rows, plans, on="house")["plan_plan"].tolist() == ["paid", "paid"]


def test_facts_come_from_any_source_and_every_batch_is_joined(tmp_path: Path) -> None:
    PLANS.head(2).to_csv(tmp_path / "2026-01.csv", index=False)
    PLANS.tail(1).to_csv(tmp_path / "2026-02.csv", index=False)
    known = Facts(source=Files(str(tmp_path)), key="who", time="since", columns=("plan",))
    base = lambda: iter([Batch("a", ROWS.head(2)), Batch("b", ROWS.tail(2).assign(at="2026-01-05"))])  # noqa: E731
    found = list(fetch(Joined(base, time="at", facts={"now": known, "again": known})))
    assert [(batch.name, batch.once) for batch in found] == [("a", True), ("b", True)]
    assert found[1].frame["again_plan"].tolist()[0] == "paid"


@pytest.mark.parametrize(
    ("rows", "plans", "why"),
    [
        (ROWS.drop(columns=["at"]), PLANS, "'at'"),
        (ROWS.assign(plan_plan=""), PLANS, "'plan_plan' stands in the base already"),
        (ROWS, PLANS.drop(columns=["seats"]), "'seats'"),
        (ROWS, PLANS.assign(since="soon"), "'soon' is not an ISO 8601 time"),
        (ROWS, PLANS.assign(who=None), "a fact without who or since"),
    ],
)
def test_what_can_not_be_joined_is_refused_with_its_name(rows: pd.DataFrame, plans: pd.DataFrame, why: str) -> None:
    with pytest.raises((SourceUnavailable, SchemaMismatch), match=why):
        joined(rows, plans)


def test_a_base_that_is_one_growing_frame_and_facts_without_columns_are_refused() -> None:
    known = Facts(source=lambda: PLANS, key="who", time="since", columns=("plan",))
    with pytest.raises(SourceUnavailable, match="one frame that grows"):
        list(fetch(Joined(lambda: ROWS, time="at", facts={"plan": known})))
    with pytest.raises(BadDeclaration, match="at least one"):
        Facts(source=lambda: PLANS, key="who", time="since", columns=())


def test_rows_wait_for_a_source_of_facts_that_has_nothing_yet() -> None:
    source = Joined(batches(ROWS), "at", {"plans": Facts(lambda: iter(()), "who", "since", ("plan",))})
    with pytest.raises(SourceUnavailable, match="the facts 'plans': their source has no batch yet"):
        list(fetch(source))
