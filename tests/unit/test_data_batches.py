import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import canonical, coerce, frame_of, read_batch, write_batch
from data.descriptors import describe, described
from data.errors import Corrupt, SchemaMismatch, WrittenBefore
from data.schema import Category, Image, Number, Schema, length

SCHEMA = Schema(
    columns={
        "image": Image(height=2, width=2, high=16),
        "age": Number(low=0, high=120, integer=True, nullable=True),
        "weight": Number(),
        "digit": Category(levels=tuple("0123456789")),
    },
    target="digit",
    key="id",
    time="at",
)


def frame(rows: int = 12) -> pd.DataFrame:
    generator = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "id": [f"row-{i}" for i in range(rows)],
            "at": pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC")[::-1],
            "image": list(generator.integers(0, 17, (rows, 2, 2)).astype(np.uint8)),
            "age": [None, *range(1, rows)],
            "weight": generator.normal(70, 10, rows),
            "digit": [str(i % 10) for i in range(rows)],
        }
    )


def test_rows_survive_the_way_through_frames_files_and_text(tmp_path: Path) -> None:
    rows, bad = coerce(frame(), SCHEMA)
    assert bad == []
    assert np.isnan(rows["age"][0])
    write_batch(tmp_path / "a.parquet", rows, SCHEMA)
    as_text = frame().astype({"weight": str})
    as_text["age"] = ["", *map(str, range(1, 12))]
    as_text["image"] = [str(picture.tolist()) for picture in frame()["image"]]
    as_text["at"] = [f"{moment:%Y-%m-%dT%H:%M:%S}+00:00" for moment in frame()["at"]]
    for again in (
        read_batch(tmp_path / "a.parquet", SCHEMA),
        coerce(frame_of(rows, SCHEMA), SCHEMA)[0],
        coerce(as_text, SCHEMA)[0],
    ):
        for name, values in rows.items():
            assert again[name].dtype == values.dtype
            np.testing.assert_array_equal(again[name], values)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("age", "old", "'old' is not a number"),
        ("age", 2.5, "2.5 is not a whole number"),
        ("age", True, "True is not a number"),
        ("weight", float("inf"), "not a finite number"),
        ("weight", "1_000", "is not a number"),
        ("weight", "1e999", "not a finite number"),
        ("weight", [1.0], "is not a number"),
        ("at", "02/03/2026", "not an ISO 8601 time"),
        ("at", 1_700_000_000, "not an ISO 8601 time"),
        ("id", None, "a row needs a key"),
        ("id", "", "a row needs a key"),
        ("digit", "\ud800", "not Unicode text"),
        ("digit", ["7"], "is not text"),
        ("image", None, "is not a picture"),
        ("image", np.zeros((3, 2), np.uint8), "its shape is (3, 2), not (2, 2)"),
        ("image", [[1, 2], [3]], "its lines differ in length"),
        ("image", [[1, 2], [3, 17]], "whole numbers from 0 to 16"),
        ("image", [[0.5, 2], [3, 4]], "whole numbers from 0 to 16"),
        ("image", [[float("nan"), 2], [3, 4]], "whole numbers from 0 to 16"),
        ("image", [["a", "b"], ["c", "d"]], "its pixels are not numbers"),
        ("image", "<script>", "is not a picture"),
        ("image", b"\x00", "its shape is (1,), not (2, 2)"),
    ],
)
def test_a_cell_that_cannot_be_meant_costs_its_row_and_says_why(column: str, value: Any, reason: str) -> None:
    raw = frame().astype({column: object})
    raw[column] = [value if i == 3 else cell for i, cell in enumerate(raw[column])]
    rows, bad = coerce(raw, SCHEMA)
    assert length(rows) == 11
    [(position, why)] = bad
    assert position == 3
    assert reason in why
    assert why.startswith(f"{column}: ")


def test_whole_floats_are_read_as_the_levels_they_stand_for() -> None:
    raw = frame()
    raw["digit"] = [float(i % 10) for i in range(12)]
    rows, bad = coerce(raw, SCHEMA)
    assert bad == []
    assert rows["digit"].tolist() == [str(i % 10) for i in range(12)]


def test_a_batch_is_read_by_a_later_schema_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "batch.parquet"
    rows, _ = coerce(frame(), SCHEMA)
    write_batch(path, rows, SCHEMA)
    turned = dataclasses.replace(SCHEMA, columns=dict(reversed(SCHEMA.columns.items())))
    fewer = dataclasses.replace(SCHEMA, columns={k: v for k, v in SCHEMA.columns.items() if k != "weight"})
    for schema in (turned, fewer):
        again = read_batch(path, schema)
        assert list(again) == list(schema.names)
        assert all((again[name] == rows[name]).all() for name in ("image", "digit", "id"))
    more = dataclasses.replace(SCHEMA, columns={**SCHEMA.columns, "height": Number()})
    with pytest.raises(WrittenBefore, match=r"'batch' came before the schema had 'height': ingest .* it or decl"):
        read_batch(path, more)
    assert np.isnan(read_batch(path, more, partly=True)["height"]).all()
    new = {"height": Number(nullable=True), "shop": Category(levels=("north",), nullable=True)}
    filled = dataclasses.replace(SCHEMA, columns={**SCHEMA.columns, **new})
    again = read_batch(path, filled)
    assert np.isnan(again["height"]).all()
    assert again["shop"].tolist() == [None] * 12
    assert (again["weight"] == rows["weight"]).all()
    renamed = dataclasses.replace(SCHEMA, key="number")
    with pytest.raises(WrittenBefore, match="'number'"):
        read_batch(path, renamed, partly=True)


def test_missing_and_doubled_columns_are_named() -> None:
    with pytest.raises(SchemaMismatch, match=r"'weight' \(did you mean 'weigth'"):
        coerce(frame().rename(columns={"weight": "weigth"}), SCHEMA)
    with pytest.raises(SchemaMismatch, match="twice"):
        coerce(pd.concat([frame(), frame()[["age"]]], axis=1), SCHEMA)


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=6), st.integers(0, 2**32))
def test_any_order_and_any_repetition_of_rows_gives_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], repeated: list[int], seed: int
) -> None:
    shuffled = [*order, *repeated]
    random.Random(seed).shuffle(shuffled)
    assert file_of(frame().iloc[shuffled], tmp_path_factory) == file_of(frame(), tmp_path_factory)


def file_of(raw: pd.DataFrame, folders: pytest.TempPathFactory) -> str:
    rows, _ = coerce(raw, SCHEMA)
    return write_batch(folders.getbasetemp() / "batch.parquet", canonical(rows, SCHEMA), SCHEMA)


def test_two_rows_of_one_key_and_time_keep_a_fixed_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = frame()
    raw.loc[5, ["id", "at"]] = raw.loc[4, ["id", "at"]]
    assert file_of(raw, tmp_path_factory) == file_of(raw.iloc[::-1], tmp_path_factory)
    assert length(canonical(coerce(raw, SCHEMA)[0], SCHEMA)) == 12


def test_no_truncated_and_no_flipped_batch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "batch.parquet"
    rows, _ = coerce(frame(), SCHEMA)
    recorded = write_batch(path, rows, SCHEMA)
    whole = path.read_bytes()
    chance = random.Random(3)
    for _ in range(150):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        assert_refused(path, bytes(broken), recorded)
    for cut in (0, 1, 4, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        assert_refused(path, whole[:cut], recorded)
    path.write_bytes(whole)
    assert length(read_batch(path, SCHEMA, recorded)) == 12


def assert_refused(path: Path, content: bytes, recorded: str) -> None:
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        read_batch(path, SCHEMA, recorded)


def test_without_a_recorded_hash_no_flip_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "batch.parquet"
    rows, _ = coerce(frame(), SCHEMA)
    write_batch(path, rows, SCHEMA)
    whole = path.read_bytes()
    chance = random.Random(4)
    for _ in range(150):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        try:
            found = read_batch(path, SCHEMA)
        except Corrupt:
            continue
        for name, values in rows.items():
            np.testing.assert_array_equal(found[name], values)


def test_a_batch_of_no_rows_can_be_written_and_read(tmp_path: Path) -> None:
    rows, _ = coerce(frame().iloc[:0], SCHEMA)
    write_batch(tmp_path / "none.parquet", rows, SCHEMA)
    assert read_batch(tmp_path / "none.parquet", SCHEMA)["image"].shape == (0, 2, 2)


def test_pictures_are_described_in_units_of_their_brightest_pixel() -> None:
    column = {"image": Image(height=2, width=2, high=16)}
    rows = {"image": np.array([[[16, 16], [16, 16]], [[0, 16], [16, 0]]], dtype=np.uint8)}
    found = describe(column, rows)
    assert {name: values.tolist() for name, values in found.items()} == {
        "image.brightness": [1.0, 0.5],
        "image.contrast": [0.0, 0.5],
        "image.sharpness": [0.0, 1.0],
    }
    assert list(found) == list(described(column))
