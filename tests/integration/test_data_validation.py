import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import quarantine
from data.batches import coerce
from data.errors import BadDeclaration, NotQuarantined, SchemaMismatch
from data.expectations import Expect, guards
from data.schema import Category, Image, Number, Schema
from data.validation import Validation, report_markdown, validate
from data.versions import DataRegistry

SCHEMA = Schema(
    columns={
        "image": Image(height=3, width=3, high=16),
        "share": Number(low=0, high=1),
        "note": Number(nullable=True),
        "digit": Category(levels=("a", "b")),
    },
    target="digit",
    key="id",
    time="at",
)
ROWS = 40


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"row-{i}" for i in range(ROWS)],
            "at": pd.date_range("2026-01-01", periods=ROWS, tz="UTC"),
            "image": [np.full((3, 3), i % 17, np.uint8) for i in range(ROWS)],
            "share": np.linspace(0, 1, ROWS),
            "note": [None, *[1.5] * (ROWS - 1)],
            "digit": ["a", "b"] * (ROWS // 2),
        }
    )


def validated(raw: pd.DataFrame, *expectations: Expect, max_bad: float = 0.5) -> Validation:
    rows, _ = coerce(raw, SCHEMA)
    return validate(rows, SCHEMA, expectations, max_bad)


def test_good_rows_pass_every_guard() -> None:
    found = validated(frame())
    assert found.good.all()
    assert found.reasons == {}
    assert len(found.results) == len(guards(SCHEMA))


def test_each_bad_row_names_what_it_failed_and_the_others_go_on() -> None:
    raw = frame()
    raw.loc[3, "share"] = 7
    raw.loc[4, "id"] = "row-5"
    raw.loc[8, "digit"] = "?"
    raw.loc[9, ["share", "digit"]] = [None, "?"]
    found = validated(raw)
    assert found.refused is None
    assert np.flatnonzero(~found.good).tolist() == [3, 4, 5, 8, 9]
    assert found.reasons[3] == ["ExpectColumnValuesToBeBetween(share, min_value=0, max_value=1)"]
    assert found.reasons[4] == found.reasons[5] == ["ExpectColumnValuesToBeUnique(id)"]
    assert [reason.split("(")[0] for reason in found.reasons[9]] == [
        "ExpectColumnValuesToNotBeNull",
        "ExpectColumnValuesToBeInSet",
    ]


def test_a_row_delivered_twice_is_no_second_row() -> None:
    raw = pd.concat([frame(), frame().iloc[[4, 4, 7]]], ignore_index=True)
    raw.loc[len(raw)] = raw.loc[2]
    found = validated(raw)
    assert found.good.all()


BROKEN: dict[str, Any] = {
    "no rows": lambda raw: raw.iloc[:0],
    "every number null": lambda raw: raw.assign(share=np.nan),
    "a nullable column all null": lambda raw: raw.assign(note=None),
    "every label null": lambda raw: raw.assign(digit=None),
    "every time null": lambda raw: raw.assign(at=pd.NaT),
    "every key null": lambda raw: raw.assign(id=None),
    "every key the same": lambda raw: raw.assign(id="x"),
    "another unit": lambda raw: raw.assign(share=raw["share"] * 100 + 2),
    "text for numbers": lambda raw: raw.assign(share="much"),
    "unknown labels": lambda raw: raw.assign(digit="z"),
    "images of another size": lambda raw: raw.assign(image=[np.zeros((4, 4), np.uint8)] * ROWS),
    "too many bad rows": lambda raw: raw.assign(share=np.where(np.arange(ROWS) < 25, 9.0, 0.5)),
    "infinite": lambda raw: raw.assign(share=np.inf),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("max_bad", [0.5, 1.0])
def test_a_broken_batch_is_never_accepted(broken: Any, max_bad: float) -> None:
    if max_bad == 1.0 and broken is BROKEN["too many bad rows"]:
        return
    found = validated(broken(frame()), max_bad=max_bad)
    assert found.refused or (max_bad == 1.0 and not found.good.any())
    assert not found.good.any()


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_missing_column_breaks_the_schema(column: str) -> None:
    with pytest.raises(SchemaMismatch, match=column):
        coerce(frame().drop(columns=column), SCHEMA)


def test_a_projects_own_expectations_speak_of_rows_tables_and_images() -> None:
    dark = Expect(type="ExpectColumnValuesToBeBetween", column="image.brightness", arguments={"min_value": 0.01})
    assert np.flatnonzero(~validated(frame(), dark).good).tolist() == [0, 17, 34]
    mostly = Expect(
        type="ExpectColumnValuesToBeBetween", column="image.brightness", arguments={"min_value": 0.01, "mostly": 0.9}
    )
    assert validated(frame(), mostly).good.all()
    mean = Expect(type="ExpectColumnMeanToBeBetween", column="share", arguments={"min_value": 0.6})
    assert "observed 0.5" in (validated(frame(), mean).refused or "")
    absurd = Expect(type="ExpectColumnMeanToBeBetween", column="digit", arguments={"min_value": 0.6})
    assert "can't be computed" in (validated(frame(), absurd).refused or "")


@pytest.mark.parametrize(
    ("expect", "hint"),
    [
        (Expect(type="ExpectColumValuesToBeBetween", column="share"), "did you mean 'ExpectColumnValuesToBeBetween'"),
        (Expect(type="ExpectColumnValuesToBeBetween", column="chare"), "did you mean 'share'"),
        (Expect(type="ExpectColumnValuesToBeBetween", column="share", arguments={"min_valu": 1}), "min_valu"),
    ],
)
def test_an_expectation_that_cannot_be_meant_is_explained(expect: Expect, hint: str) -> None:
    with pytest.raises(BadDeclaration, match=hint):
        validated(frame(), expect)


def test_threads_do_not_disturb_each_other() -> None:
    wrong = []

    def work(bad: int) -> None:
        raw = frame()
        raw.loc[: bad - 1, "share"] = 7
        wrong.extend(bad for _ in range(4) if int((~validated(raw).good).sum()) != bad)

    threads = [threading.Thread(target=work, args=(bad,)) for bad in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_frame_is_kept_once_it_is_validated() -> None:
    validated(frame())
    gc.collect()
    before = sum(type(one) is pd.DataFrame for one in gc.get_objects())
    for _ in range(3):
        validated(frame())
    gc.collect()
    assert sum(type(one) is pd.DataFrame for one in gc.get_objects()) <= before


def test_the_report_shows_strangers_values_as_plain_text() -> None:
    evil = "</script><script>alert(1)</script>|[x](javascript:1)"
    only = Expect(type="ExpectColumnValuesToBeInSet", column="digit", arguments={"value_set": [evil, "a"]})
    text = report_markdown(validated(frame(), only))
    assert "<script" not in text
    assert "[x](" not in text
    assert text.splitlines()[4].startswith("| **fails** |")


@pytest.fixture
def registry(tmp_path: Path) -> DataRegistry:
    return DataRegistry(tmp_path / "registry", str(tmp_path / "remote"))


def test_quarantined_rows_stay_as_they_came_until_released(registry: DataRegistry) -> None:
    raw = frame().astype({"image": object, "share": object})
    raw.loc[2, "share"] = "much"
    raw["image"] = [picture[:2] if i == 3 else picture for i, picture in enumerate(raw["image"])]
    raw["free text"] = ["\ud800" if i == 2 else {"a": 1} for i in range(ROWS)]
    reasons = {2: ["share: 'much' is not a number"], 3: ["image: its shape is (2, 3), not (3, 3)", "late"]}
    assert quarantine.add(registry, "shop", "2026-01-01", raw, reasons)
    assert not quarantine.add(registry, "shop", "2026-01-01", raw, reasons)
    [entry] = quarantine.ls(registry, "shop")
    assert (entry.batch, entry.rows, entry.released) == ("2026-01-01", 2, False)
    assert entry.reasons["late"] == 1
    shown = quarantine.show(registry, "shop", "2026-01-01")
    assert shown["_position"].tolist() == [2, 3]
    assert [list(found) for found in shown["_reasons"]] == list(reasons.values())
    assert shown["share"].tolist() == ["much", str(raw["share"][3])]
    rows, bad = coerce(shown.assign(share=0.5), SCHEMA)
    assert rows["id"].tolist() == ["row-2"]
    assert [why for _, why in bad] == ["image: its shape is (2, 3), not (3, 3)"]
    assert quarantine.release(registry, "shop", "2026-01-01")
    assert not quarantine.release(registry, "shop", "2026-01-01")
    assert not quarantine.add(registry, "shop", "2026-01-01", raw, reasons)
    assert quarantine.ls(registry, "shop")[0].released


def test_other_rows_of_a_batch_replace_the_quarantined_ones(registry: DataRegistry) -> None:
    quarantine.add(registry, "shop", "monday", frame(), {1: ["a"]})
    quarantine.release(registry, "shop", "monday")
    assert quarantine.add(registry, "shop", "monday", frame(), {1: ["a"], 2: ["b"]})
    [entry] = quarantine.ls(registry, "shop")
    assert (entry.rows, entry.released) == (2, False)


def test_what_is_not_in_quarantine_is_said(registry: DataRegistry) -> None:
    assert quarantine.ls(registry, "shop") == []
    with pytest.raises(NotQuarantined, match="'mondy' in shop"):
        quarantine.show(registry, "shop", "mondy")
