import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from monitoring.declarations import Governor
from monitoring.governor import Asker, Circumstances, decide

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
READY = Circumstances(now=NOW, labels=300)


@pytest.mark.parametrize(
    ("kind", "settings", "seen", "action", "said"),
    [
        ("drift", {}, {}, "retrain", "300 new labelled rows"),
        ("degraded", {}, {}, "retrain", "300 new labelled rows"),
        ("fault", {}, {}, "skip", "no change of the world"),
        ("refused-data", {}, {}, "skip", "no change of the world"),
        ("drift", {"retrain": "off"}, {}, "skip", "off"),
        ("drift", {"retrain": "suggest"}, {}, "suggest", "a person starts it"),
        ("drift", {"retrain": "approve"}, {}, "approve", "approval"),
        ("drift", {}, {"open_faults": ("image.contrast",)}, "block", "image.contrast"),
        ("drift", {}, {"failures": 3, "labels": 100}, "block", "a person must look"),
        ("drift", {}, {"failures": 2}, "retrain", "nothing stands against"),
        ("drift", {}, {"failures": 3, "labels": 199}, "block", "or 200 new labelled rows must come"),
        ("drift", {}, {"failures": 3, "labels": 120, "new_rows": 80}, "retrain", "200 new labelled rows"),
        ("drift", {}, {"failures": 4, "labels": 399}, "block", "the last 4 retrainings"),
        ("drift", {}, {"failures": 4, "labels": 400}, "retrain", "nothing stands against"),
        ("drift", {}, {"failures": 3, "tried": 3, "labels": 799}, "block", "or 800 new labelled rows must come"),
        ("drift", {}, {"failures": 3, "tried": 3, "labels": 800}, "retrain", "nothing stands against"),
        ("drift", {"minimum_labels": 0}, {"failures": 3, "labels": 1}, "block", "or 2 new labelled rows"),
        ("drift", {}, {"failures": 3, "labels": 900, "open_faults": ("x",)}, "block", "a fault is open"),
        ("drift", {}, {"failures": 3, "labels": 900, "runs_today": 3}, "wait", "3 are allowed"),
        ("drift", {}, {"failures": 3, "new_rows": 900, "labels": 0, "same_data": True}, "wait", "the snapshot is"),
        ("drift", {}, {"labels": 0}, "wait", "nothing new to learn"),
        ("drift", {"minimum_labels": 0}, {"labels": 0}, "wait", "nothing new to learn"),
        ("drift", {}, {"labels": 0, "new_rows": 500, "same_data": True}, "wait", "the snapshot is the one"),
        ("drift", {}, {"labels": 99}, "wait", "99 of 100"),
        ("drift", {}, {"tried": 1, "labels": 199}, "wait", "199 of 200"),
        ("drift", {}, {"tried": 1, "labels": 200}, "retrain", "200 new labelled rows"),
        ("drift", {}, {"labels": 60, "new_rows": 40}, "retrain", "100 new labelled rows"),
        ("drift", {"retrain": "suggest"}, {"labels": 99}, "wait", "99 of 100"),
        ("drift", {}, {"lease": "run-7"}, "wait", "run-7"),
        ("drift", {}, {"promised": 7}, "wait", "intent 7 comes first"),
        ("drift", {}, {"last_retraining": NOW - timedelta(minutes=59)}, "wait", "12:01:00"),
        ("drift", {}, {"last_retraining": NOW - timedelta(minutes=60)}, "retrain", "nothing stands against"),
        ("drift", {}, {"runs_today": 3}, "wait", "3 retrainings in 24 hours, 3 are allowed"),
        ("drift", {}, {"runs_this_week": 12}, "wait", "12 retrainings in 7 days"),
        ("drift", {}, {"minutes_today": 480.0}, "wait", "480 that are allowed"),
        ("drift", {}, {"minutes_today": 400.0, "last_minutes": 90.0}, "wait", "took 400 minutes in 24 hours"),
        ("drift", {}, {"minutes_today": 400.0, "last_minutes": 80.0}, "retrain", "nothing stands against"),
        ("drift", {"minutes_per_week": 60.0}, {"minutes_this_week": 50.0, "last_minutes": 20.0}, "wait", "in 7 days"),
        ("drift", {}, {"labels": 0, "open_faults": ("x",), "lease": "run-7"}, "block", "fault"),
    ],
)
def test_the_governor_rules_by_what_is_written_down(
    kind: Any, settings: dict[str, Any], seen: dict[str, Any], action: str, said: str
) -> None:
    ruling = decide(kind, Governor(**settings), replace(READY, **seen))
    assert ruling.action == action
    assert said in ruling.reason


@pytest.mark.parametrize(
    ("asker", "settings", "seen", "action", "said"),
    [
        ("person", {"retrain": "off"}, {}, "retrain", "a person started it"),
        ("person", {}, {"last_retraining": NOW}, "retrain", "skips the cool-down (cooling down until"),
        ("person", {}, {"labels": 0}, "retrain", 'skips "nothing new to learn" (nothing new'),
        ("person", {}, {"failures": 3, "labels": 5}, "retrain", "skips the breaker"),
        ("person", {}, {"promised": 7}, "retrain", "a person started it"),
        ("person", {}, {"open_faults": ("x",)}, "block", "recover or be acknowledged"),
        ("person", {}, {"lease": "run-7"}, "wait", "run-7"),
        ("person", {}, {"runs_today": 3}, "wait", "3 are allowed"),
        ("person", {}, {"minutes_this_week": 1500.0}, "wait", "1440 that are allowed"),
        ("schedule", {"retrain": "off"}, {}, "retrain", "nothing stands against"),
        ("schedule", {"retrain": "approve"}, {}, "retrain", "nothing stands against"),
        ("schedule", {}, {"labels": 0}, "wait", "nothing new to learn"),
        ("schedule", {}, {"failures": 3, "labels": 199}, "block", "a person must look"),
        ("schedule", {}, {"failures": 3, "labels": 200}, "retrain", "nothing stands against"),
        ("schedule", {}, {"last_retraining": NOW}, "wait", "cooling down"),
    ],
)
def test_a_person_skips_what_spares_people_a_look_and_a_schedule_skips_nothing(
    asker: Asker, settings: dict[str, Any], seen: dict[str, Any], action: str, said: str
) -> None:
    ruling = decide(None, Governor(**settings), replace(READY, **seen), asker)
    assert ruling.action == action
    assert said in ruling.reason


def test_a_ruling_records_every_input_in_plain_json() -> None:
    fields = set(Circumstances.__dataclass_fields__)
    ruling = decide("drift", Governor(), replace(READY, last_retraining=NOW, open_faults=("x",)))
    assert fields <= set(ruling.inputs)
    limited = set(Governor.__dataclass_fields__) - {"promote", "approval_timeout", "receipt_after", "cooldown"}
    assert limited | {"cooldown_s"} == set(ruling.inputs["settings"])
    assert orjson.loads(orjson.dumps(ruling.inputs)) == ruling.inputs


def test_a_loop_that_nothing_comes_of_trains_ever_more_rarely_and_never_stops_for_good() -> None:
    runs: list[int] = []
    for row in range(100, 100_001, 100):  # all labelled; each retraining is refused
        seen = replace(READY, labels=row - (runs[-1] if runs else 0), failures=len(runs))
        runs += [row] if decide("drift", Governor(), seen).action == "retrain" else []
    assert runs[:3] == [100, 200, 300]
    apart = [later - earlier for earlier, later in itertools.pairwise(runs[2:])]
    assert apart == [200 * 2**n for n in range(len(apart))]
    assert len(runs) == 11


class Week(RuleBasedStateMachine):
    """The model: what ran when and for how long; a run that starts is never longer than the one before it."""

    settings = Governor(
        cooldown=timedelta(hours=2), per_day=3, per_week=5, minutes_per_day=100.0, minutes_per_week=200.0
    )

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.runs: list[tuple[datetime, datetime, str]] = []
        self.fault = False
        self.labels = 0

    @rule(minutes=st.sampled_from([1, 30, 119, 120, 600, 1440, 6000]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(labels=st.sampled_from([0, 50, 100, 500]))
    def labels_come(self, labels: int) -> None:
        self.labels += labels

    @rule()
    def a_fault_opens_or_is_over(self) -> None:
        self.fault = not self.fault

    def since(self, days: int) -> list[tuple[datetime, datetime, str]]:
        return [run for run in self.runs if run[0] > self.now - timedelta(days=days)]

    def spent(self, days: int) -> float:
        since = self.now - timedelta(days=days)
        return sum(
            (min(end, self.now) - max(start, since)) / timedelta(minutes=1)
            for start, end, _ in self.runs
            if end > since and start < self.now
        )

    @rule(asker=st.sampled_from(["incident", "schedule", "person"]), minutes=st.sampled_from([20, 45]))
    def somebody_asks(self, asker: Asker, minutes: int) -> None:
        busy = bool(self.runs) and self.runs[-1][1] > self.now
        longest = 45.0 if self.runs else 0.0
        seen = Circumstances(
            now=self.now,
            labels=self.labels,
            runs_today=len(self.since(1)),
            runs_this_week=len(self.since(7)),
            minutes_today=self.spent(1),
            minutes_this_week=self.spent(7),
            last_minutes=longest,
            last_retraining=min(self.runs[-1][1], self.now) if self.runs else None,
            open_faults=("x",) if self.fault else (),
            lease="a run" if busy else None,
        )
        ruling = decide("drift", self.settings, seen, asker)
        if ruling.action != "retrain":
            return
        assert not busy
        assert not self.fault
        if asker != "person":
            assert self.labels >= self.settings.minimum_labels
            assert not self.runs or self.now - self.runs[-1][1] >= self.settings.cooldown
        elif self.labels < self.settings.minimum_labels:
            assert "which skips" in ruling.reason
        self.runs.append((self.now, self.now + timedelta(minutes=minutes), asker))
        self.labels = 0

    @invariant()
    def no_budget_is_ever_exceeded(self) -> None:
        assert len(self.since(1)) <= self.settings.per_day
        assert len(self.since(7)) <= self.settings.per_week
        assert self.spent(1) <= self.settings.minutes_per_day
        assert self.spent(7) <= self.settings.minutes_per_week

    @invariant()
    def no_two_run_at_once(self) -> None:
        assert all(earlier[1] <= later[0] for earlier, later in zip(self.runs, self.runs[1:], strict=False))


def test_in_any_week_budgets_hold_and_no_two_retrainings_run_at_once() -> None:
    run_state_machine_as_test(Week, settings=limits(max_examples=60, stateful_step_count=40, deadline=None))
