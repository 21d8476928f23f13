from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from monitoring.declarations import Governor
from monitoring.governor import Circumstances, decide

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
        ("drift", {"retrain": "approve"}, {"approved": True}, "retrain", "nothing stands against"),
        ("drift", {}, {"had_intent": True}, "skip", "has had its retraining"),
        ("drift", {}, {"open_faults": ("image.contrast",)}, "block", "image.contrast"),
        ("drift", {}, {"failures": 3}, "block", "a person must look"),
        ("drift", {}, {"failures": 2}, "retrain", "nothing stands against"),
        ("drift", {}, {"labels": 0}, "wait", "nothing new to learn"),
        ("drift", {"minimum_labels": 0}, {"labels": 0}, "wait", "nothing new to learn"),
        ("drift", {}, {"labels": 99}, "wait", "99 of 100"),
        ("drift", {}, {"labels": 60, "new_rows": 40}, "retrain", "100 new labelled rows"),
        ("drift", {"retrain": "suggest"}, {"labels": 99}, "wait", "99 of 100"),
        ("drift", {}, {"lease": "run-7"}, "wait", "run-7"),
        ("drift", {}, {"last_retraining": NOW - timedelta(minutes=59)}, "wait", "12:01:00"),
        ("drift", {}, {"last_retraining": NOW - timedelta(minutes=60)}, "retrain", "nothing stands against"),
        ("drift", {}, {"intents_today": 3}, "wait", "3 are allowed"),
        ("drift", {}, {"labels": 0, "open_faults": ("x",), "lease": "run-7"}, "block", "fault"),
    ],
)
def test_the_governor_rules_by_what_is_written_down(
    kind: Any, settings: dict[str, Any], seen: dict[str, Any], action: str, said: str
) -> None:
    ruling = decide(kind, Governor(**settings), replace(READY, **seen))
    assert ruling.action == action
    assert said in ruling.reason


def test_a_ruling_records_every_input_in_plain_json() -> None:
    fields = set(Circumstances.__dataclass_fields__)
    ruling = decide("drift", Governor(), replace(READY, last_retraining=NOW, open_faults=("x",)))
    assert fields <= set(ruling.inputs)
    assert {"retrain", "cooldown_s", "per_day", "minimum_labels", "breaker"} == set(ruling.inputs["settings"])
    assert orjson.loads(orjson.dumps(ruling.inputs)) == ruling.inputs
