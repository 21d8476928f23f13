"""A window read as columns holds what its rows hold, one by one, on every database."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from store_parts import NOON, project, store, url

from data.descriptors import describe
from data.errors import Corrupt
from data.packing import pack_all, unpack_rows
from data.schema import Category, Image, Number, Rows, Schema
from models.declarations import Features
from models.encoding import Encoder
from models.predictor import Predictor
from monitoring.answers import Answers, answers_of, read_shortly, read_whole
from monitoring.records import Label, Prediction, WindowKey
from monitoring.store import Store
from tasks.observing import answers_in, observed

__all__ = ["project", "store", "url"]

ROWS = 2_600
STRETCH = 1_100
ALSO = ("label", "id", "row_time")
LEVELS = ("no", "yes", "né")


def doubled(rows: Rows) -> Rows:
    return {"twice": 2 * rows["size"]}


def schema(task: str) -> Schema:
    return Schema(
        columns={
            "size": Number(nullable=True),
            "site": Category(levels=("north", "south"), open=True, nullable=True),
            "photo": Image(height=3, width=2),
            "truth": Category(levels=LEVELS) if task == "classification" else Number(),
        },
        target="truth",
        key="id",
        time="at",
    )


def asked(rng: np.random.Generator) -> Rows:
    size = rng.normal(size=ROWS)
    size[rng.random(ROWS) < 0.2] = np.nan
    return {
        "id": np.array([f"r{n:05d}" for n in range(ROWS)], dtype=object),
        "at": np.datetime64("2026-01-01T00:00", "us") + rng.integers(0, 10**9, ROWS).astype("timedelta64[us]"),
        "size": size,
        "site": rng.choice(np.array(["north", "south", 'un"seen', "null", "", None], dtype=object), ROWS),
        "photo": rng.integers(0, 2, (ROWS, 3, 2)).astype(np.uint8),
    }


def said(task: str, rng: np.random.Generator) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for n, sure in enumerate(rng.random(ROWS).tolist()):
        if task == "regression":
            found.append({"value": (None, float("nan"), 1, -0.0, sure)[min(n % 9, 4)]})
        else:
            level = LEVELS[n % 3]
            found.append({"class": level, "confidence": None if n % 11 == 0 else sure, "probabilities": {level: sure}})
    return found


def log(store: Store, project: str, task: str) -> Predictor:
    rng = np.random.default_rng(3)
    known, rows, outputs = schema(task), asked(rng), said(task, rng)
    minutes = rng.integers(0, 60, ROWS).tolist()  # many rows of one moment, and none in order
    packed = pack_all(known, rows)
    store.predictions.append(
        [
            Prediction(
                id_,
                project,
                1,
                NOON,
                NOON + timedelta(minutes=minutes[n]),
                packed[n],
                outputs[n],
                trial=int(n % 13 == 0),
            )
            for n, id_ in enumerate(rows["id"].tolist())
        ]
    )
    truth = [LEVELS[n % 2] if task == "classification" else float(n) for n in range(ROWS)]
    labels = [Label(id_, truth[n], NOON) for n, id_ in enumerate(rows["id"].tolist()) if n % 3]
    store.labels.record(project, labels, NOON)
    encoder = Encoder.fit(
        known, Features(columns={"twice": Number(nullable=True)}, compute=doubled), {**rows, "truth": np.zeros(ROWS)}
    )
    return Predictor(encoder, None)  # type: ignore[arg-type] (nothing is answered anew)


def windows(project: str) -> list[WindowKey]:
    span = WindowKey(project, 1, 0, NOON + timedelta(minutes=2), NOON + timedelta(minutes=55))
    return [span, replace(span, start_row=7, end_row=2_300), replace(span, end=span.start)]


def alike(found: Answers | Rows, expected: Answers | Rows) -> None:
    mine, its = (one if isinstance(one, dict) else vars(one) for one in (found, expected))
    assert list(mine) == list(its)
    for name, values in its.items():
        if not isinstance(values, np.ndarray):
            assert mine[name] == values, name
        elif values.dtype == object:
            assert mine[name].tolist() == values.tolist(), name
        else:
            np.testing.assert_array_equal(mine[name], values, name, strict=True)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_window_as_columns_is_its_rows_one_by_one(
    store: Store, project: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.store.predictions.STRETCH", STRETCH)
    predictor = log(store, project, task)
    for window in windows(project):
        logged = store.predictions.rows(window)
        seen, answers = observed(store, predictor, window, read_whole, also=ALSO)
        assert len(answers) == len(logged) == store.predictions.count_in(window)
        if not logged:
            assert seen == {}
            continue
        rows = unpack_rows(predictor.schema, [one.features for one in logged])
        expected = answers_of(logged)
        came = describe(predictor.encoder.columns, predictor.encoder.derive(rows))
        alike(seen, {**came, **expected.watched})
        alike(answers, expected)
        alike(answers_in(store, window, read_whole, ALSO), expected)
        short = answers_in(store, window, read_shortly, ("label",))
        alike(short, replace(expected, probabilities=None, levels=(), ids=None, times=None))
        assert 0 < short.known.sum() < len(logged)


def test_a_row_that_the_log_can_not_read_makes_the_window_corrupt(store: Store, project: str) -> None:
    predictor = log(store, project, "regression")
    store.predictions.append([Prediction("odd", project, 1, NOON, NOON + timedelta(minutes=5), b"[1]", {"value": 1.0})])
    with pytest.raises(Corrupt):
        observed(store, predictor, windows(project)[0], read_shortly)
