import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data.schema import Category, Number, Rows
from monitoring import kept
from monitoring.calibration import calibration_for
from monitoring.declarations import Monitors, Window
from monitoring.kept import Kept
from monitoring.records import WindowKey
from monitoring.reference import Reference, build
from monitoring.stored_reference import from_bytes, to_bytes
from monitoring.verdicts import judge_data

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HOURLY = Monitors(window=Window(span=timedelta(hours=1)))


def world(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    return {
        "size": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "site": rng.choice(np.array(["north", "south"], dtype=object), rows),
    }


def payload(*, exchangeable: bool = True, seed: int = 1) -> bytes:
    rows = 2400
    times = np.datetime64("2026-01-01", "us") + np.arange(rows) * np.timedelta64(5, "m")
    built = build(
        {"size": Number(nullable=True), "site": Category(levels=("north", "south"))},
        world(rows, seed),
        held_out=np.ones(rows, bool),
        losses=np.zeros(rows),
        task="classification",
        exchangeable=exchangeable,
        times=times,
        window_rows=12,
        rows_a_quarter=26_000,
    )
    return to_bytes(built)


def another(stored: bytes, folder: Path | None) -> Reference:
    """What another process reads: nothing that this one has cached."""
    from_bytes.cache_clear()
    return from_bytes(stored, folder)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def stop(*_: object) -> None:
    raise AssertionError("made again")


@pytest.mark.parametrize("exchangeable", [True, False])
def test_a_calibration_that_another_process_made_is_the_one_this_process_would_make(
    exchangeable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = payload(exchangeable=exchangeable)
    alone = calibration_for(another(stored, None), 12, HOURLY, NOW)
    assert calibration_for(another(stored, tmp_path), 12, HOURLY, NOW) == alone
    made = files(tmp_path)
    assert made
    monkeypatch.setattr("monitoring.calibration.unchanged.plain", stop)
    monkeypatch.setattr("monitoring.calibration.past.look", stop)
    found = calibration_for(another(stored, tmp_path), 12, HOURLY, NOW)
    assert found == alone
    assert {name: counts.tolist() for name, counts in found.known.items()} == {
        name: counts.tolist() for name, counts in alone.known.items()
    }
    window = WindowKey("plums", 1, 0, NOW, NOW + timedelta(hours=1))
    judge_data(another(stored, tmp_path), world(12, 5), HOURLY, window)
    assert files(tmp_path) == made


def test_another_reference_declaration_size_or_code_reads_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = payload()
    calibration_for(another(stored, tmp_path), 100, HOURLY)
    known = len(files(tmp_path))
    for changed, rows, monitors in (
        (payload(seed=2), 100, HOURLY),
        (stored, 200, HOURLY),
        (stored, 100, replace(HOURLY, false_incidents=3.0)),
        (stored, 100, replace(HOURLY, k=1, n=1)),
    ):
        calibration_for(another(changed, tmp_path), rows, monitors)
        assert len(files(tmp_path)) > known
        known = len(files(tmp_path))
    monkeypatch.setattr(kept, "code_sha256", lambda: "another release")
    calibration_for(another(stored, tmp_path), 100, HOURLY)
    assert len(files(tmp_path)) > known


@pytest.mark.parametrize("spoiled", [b"", b"{", b"[]", b'{"key": "another", "value": 1}', b"\xff"])
def test_a_file_that_is_not_whole_is_made_again(spoiled: bytes, tmp_path: Path) -> None:
    first = Kept(tmp_path, "a" * 64).get(["x"], lambda: 1)
    [file] = files(tmp_path)
    file.write_bytes(spoiled)
    assert Kept(tmp_path, "a" * 64).get(["x"], lambda: 1) == first
    assert json.loads(file.read_bytes())["value"] == 1
    assert Kept(tmp_path, "a" * 64).get(["x"], stop) == first


def test_a_folder_that_can_not_be_written_to_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "calibrations").write_text("a file stands where the folder should be")
    stored = payload()
    found = calibration_for(another(stored, tmp_path / "calibrations"), 100, HOURLY)
    assert found == calibration_for(another(stored, None), 100, HOURLY)


def test_the_calibrations_of_references_that_nobody_asks_for_are_forgotten(tmp_path: Path) -> None:
    for number in range(kept.FOLDERS + 3):
        Kept(tmp_path, f"{number:064d}"[::-1]).get(["x"], lambda: 1)
    assert len(list(tmp_path.iterdir())) == kept.FOLDERS
