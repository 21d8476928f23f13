from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from data.schema import Category, Number, Rows
from monitoring.calibration import calibration_for
from monitoring.declarations import Monitors
from monitoring.drift import flagged, report, write_report
from monitoring.frames import titles
from monitoring.records import WindowKey
from monitoring.reference import Reference, build
from monitoring.verdicts import judge_data

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:evidently"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litestar"),
]
EVIL = "</script><script>alert(1)</script>"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
LEVELS = ("a", "b", "c", EVIL)
COLUMNS: dict[str, Any] = {
    **{f"n{i}": Number(nullable=True) for i in range(6)},
    "few": Number(),
    "kind": Category(levels=LEVELS, nullable=True),
    EVIL: Number(),
    "prediction": Category(levels=LEVELS),
    "confidence": Number(low=0.0, high=1.0),
}


def world(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    levels = np.array(LEVELS, dtype=object)
    return {
        **{f"n{i}": rng.normal(size=rows) for i in range(6)},
        "few": rng.integers(0, 4, rows).astype(float),
        "kind": levels[rng.integers(0, 4, rows)],
        EVIL: rng.normal(size=rows),
        "prediction": levels[rng.integers(0, 4, rows)],
        "confidence": rng.beta(9, 1, rows),
    }


def reference_of(rows: Rows) -> Reference:
    count = len(rows["few"])
    held_out = np.arange(count) % 2 == 0
    return build(
        COLUMNS, rows, held_out=held_out, losses=np.zeros(200), task="classification", exchangeable=True, seed=3
    )


def changed(rows: Rows) -> Rows:
    rows["n0"] += 0.6
    rows["n1"][: len(rows["n1"]) // 20] = np.nan
    rows["n2"] *= 3.0
    rows["n3"][0] = 1e6
    rows["kind"][: len(rows["kind"]) // 4] = "c"
    rows["confidence"] **= 3
    return rows


@pytest.mark.parametrize(
    ("size", "make"), [(200, world), (200, lambda *of: changed(world(*of))), (3000, lambda *of: changed(world(*of)))]
)
def test_the_report_flags_the_columns_that_the_verdict_flags(size: int, make: Any) -> None:
    reference = reference_of(world(1500, 1))
    observed = make(size, 2)
    verdict = judge_data(reference, observed, Monitors(), WindowKey("p", 1, 0, NOW, NOW))
    snapshot, out = report(reference, observed, calibration_for(reference, size, Monitors(), NOW))
    assert out == {}
    assert snapshot is not None
    wanted = {name for name, column in verdict.detail["columns"].items() if column["drifted"]}
    shown = titles(list(reference.watched))
    assert set(flagged(snapshot)) == {shown[name] for name in wanted}
    assert (len(wanted) >= 4) is (make is not world)


def test_broken_columns_are_taken_out_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    reference = reference_of(world(1500, 1))
    observed = changed(world(200, 2))
    observed["n1"] = np.full(200, np.nan)
    observed["n2"] = np.full(200, 1e308)
    observed["n4"] = observed["n4"].astype(str).astype(object)
    del observed["n5"]
    verdict = judge_data(reference, observed, Monitors(), WindowKey("p", 1, 0, NOW, NOW))
    made = write_report(tmp_path, verdict, reference, observed, page=True)
    stored = orjson.loads((tmp_path / made["json"]).read_bytes())
    assert set(stored["left_out"]) == {"n1", "n2", "n4", "n5"}
    assert stored["verdict"]["outcome"] == "fault"
    shown = {metric["config"]["column"] for metric in stored["evidently"]["metrics"]}
    assert {"n0", "n3", "few", "kind", "prediction", "confidence"} <= shown


def test_values_from_data_can_not_end_a_script_in_the_page(tmp_path: Path) -> None:
    reference = reference_of(world(300, 1))
    observed = changed(world(200, 2))
    observed["kind"][:50] = "<img src=x onerror=alert(1)>\u2028\ud800"
    verdict = judge_data(reference, observed, Monitors(), WindowKey("p", 1, 0, NOW, NOW))
    made = write_report(tmp_path, verdict, reference, observed, page=True)
    page = (tmp_path / made["html"]).read_text()
    assert f"<b>p: window 0 of generation 1</b>, 200 rows<br>{verdict.outcome}" in page
    assert "alert(1)" in page
    for evil in ("<script>alert", "</script><script>alert", "<img src=x", "\u2028"):
        assert evil not in page
