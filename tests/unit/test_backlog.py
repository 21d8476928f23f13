from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.applied import merged
from flows.backlog import superfluous

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def run(state: str, *, auto: bool = True, minutes: float | None = None) -> dict[str, Any]:
    begun = None if minutes is None else (NOW - timedelta(minutes=minutes)).isoformat()
    return {"state_type": state, "auto_scheduled": auto, "start_time": begun}


@pytest.mark.parametrize(
    ("runs", "skipped"),
    [
        ([], 0),
        ([run("SCHEDULED")], 0),
        ([run("SCHEDULED"), run("SCHEDULED"), run("SCHEDULED")], 2),  # the newest does what is due
        ([run("RUNNING", minutes=1), run("SCHEDULED")], 1),
        ([run("PENDING"), run("SCHEDULED"), run("SCHEDULED")], 2),
        ([run("SCHEDULED"), run("SCHEDULED", auto=False)], 1),  # a person's run does it too
        ([run("SCHEDULED", auto=False), run("SCHEDULED", auto=False)], 0),  # what a person asked for stays
        ([run("RUNNING", minutes=60), run("SCHEDULED")], 0),  # a hung run keeps nobody waiting
    ],
)
def test_a_backlog_collapses_to_one_run(runs: list[dict[str, Any]], skipped: int) -> None:
    assert len(superfluous(runs, NOW)) == skipped


@pytest.mark.parametrize(
    ("last", "now", "wanted", "stands"),
    [
        (60.0, 60.0, 60.0, 60.0),
        (60.0, 60.0, 30.0, 30.0),  # the project file changed, nobody touched Prefect
        (60.0, 5.0, 60.0, 5.0),  # a person changed it
        (60.0, 5.0, 30.0, 5.0),  # both did
        (None, 5.0, 60.0, 5.0),  # the memory is lost
    ],
)
def test_what_a_person_changed_stays(last: float | None, now: float, wanted: float, stands: float) -> None:
    assert merged(last, now, wanted) == stands
