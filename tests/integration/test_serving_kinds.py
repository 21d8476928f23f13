"""Texts, clips, series and forecasts through the real service, over HTTP."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from serving_parts import Service, point, serving

from data.packing import unpack_rows
from data.schema import Audio, Category, Image, Rows, Schema, Series, Text
from data.wav import write_wav
from models.declarations import Model
from models.encoding import Encoder
from models.networks import build
from models.writing import make_version
from monitoring.answers import answers_of
from monitoring.performance import losses_in
from monitoring.store import open_store
from serving.openapi import ARROW

MIXED = Schema(
    columns={
        "note": Text(longest=60),
        "clip": Audio(rate=8000, seconds=0.1),
        "load": Series(length=3, channels=("north", "south"), nullable=True),
        "photo": Image(height=2, width=2),
        "kind": Category(levels=("a", "b")),
    },
    target="kind",
    key="id",
)
COMING = Schema(
    columns={
        "past": Series(length=6, channels=("north", "south")),
        "coming": Series(length=2, channels=("north", "south")),
    },
    target="coming",
    key="id",
)


def rows_of(schema: Schema, count: int = 30) -> Rows:
    generator = np.random.default_rng(0)
    rows: Rows = {"id": np.array([f"row-{at}" for at in range(count)], dtype=object)}
    for name, column in schema.columns.items():
        match column:
            case Text():
                rows[name] = np.array([f"parcel {at % 7} came late" for at in range(count)], dtype=object)
            case Category():
                rows[name] = np.array(["a", "b"] * (count // 2), dtype=object)
            case Series():
                rows[name] = generator.normal(50, 5, (count, *column.shape))
            case Audio() | Image():
                rows[name] = generator.integers(0, 200, (count, *column.shape)).astype(column.dtype)
    return rows


def version(home: Path, project: str, schema: Schema, network: str) -> Rows:
    """Put a version with an untrained network where the service looks."""
    rows = rows_of(schema)
    encoder, model = Encoder.fit(schema, None, rows), Model(network=network)
    folder = home / "generations" / project / "1"
    folder.mkdir(parents=True)
    made = make_version(
        folder, model=model, network=build(model, encoder.spec).eval(), encoder=encoder, rows=rows, project=None
    )
    assert not made.worker
    point(home, project, 1, made.manifest)
    return rows


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    version(home, "mixed", MIXED, "mlp")
    version(home, "coming", COMING, "linear")
    with serving(home) as running:
        yield running


def asked(service: Service, project: str, rows: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/{project}/predict", json={"rows": rows})


def test_the_documents_example_of_every_kind_is_answered_as_it_stands(service: Service) -> None:
    document = httpx.get(f"{service.url}/openapi.json").json()
    for project in ("mixed", "coming"):
        for path in (f"/v1/{project}/predict", f"/v1/{project}/labels"):
            content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            assert httpx.post(f"{service.url}{path}", json=content["example"]).status_code == 200, path


def example(service: Service, project: str) -> dict[str, Any]:
    document = httpx.get(f"{service.url}/openapi.json").json()
    content = document["paths"][f"/v1/{project}/predict"]["post"]["requestBody"]["content"]["application/json"]
    row: dict[str, Any] = content["example"]["rows"][0]
    return row


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("note", "", "is empty"),
        ("note", "x" * 61, "61 characters"),
        ("clip", base64.b64encode(b"RIFF no sound").decode(), "not a WAV"),
        ("clip", base64.b64encode(write_wav(8000, np.ones(801, np.int16))).decode(), "lasts 0.1 s"),
        ("load", [[1, 2], [3, None], [5]], "2 numbers expected"),
        ("photo", [[1, 2], [3, 256]], "0 to 255"),
    ],
)
def test_bad_input_of_each_kind_is_refused_and_says_why(service: Service, name: str, value: Any, why: str) -> None:
    refused = asked(service, "mixed", [{**example(service, "mixed"), "id": f"bad-{name}", name: value}])
    assert refused.status_code == 422
    assert refused.json()["where"].startswith(f"rows[0].{name}")
    assert why in refused.json()["error"]


def test_rows_in_bulk_are_answered_as_one_by_one_and_the_log_holds_what_was_asked(service: Service) -> None:
    rows = rows_of(MIXED, 4)
    clips = [write_wav(8000, one) for one in rows["clip"]]
    gap = [[None if value == rows["load"][0, 1, 0] else value for value in step] for step in rows["load"][0].tolist()]
    loads = [gap, *rows["load"][1:].tolist()]
    notes = rows["note"].tolist()
    plain = [
        {"id": f"one-{at}", "note": notes[at], "clip": base64.b64encode(clips[at]).decode(), "load": loads[at]}
        | {"photo": rows["photo"][at].tolist()}
        for at in range(4)
    ]
    first = asked(service, "mixed", plain).json()["predictions"]
    table = pa.table(
        {
            "id": [f"bulk-{at}" for at in range(4)],
            "note": notes,
            "clip": pa.array(clips, pa.binary()),
            "load": loads,
            "photo": pa.array([one.tobytes() for one in rows["photo"]], pa.binary(4)),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body = sink.getvalue().to_pybytes()
    headers = {"content-type": ARROW, "accept": "application/json"}
    second = httpx.post(f"{service.url}/v1/mixed/predict", content=body, headers=headers)
    assert second.status_code == 200, second.text
    for one, other in zip(first, second.json()["predictions"], strict=True):
        assert one["probabilities"]["a"] == pytest.approx(other["probabilities"]["a"], abs=1e-6)
    store = open_store(service.store_url)
    try:
        logged = store.predictions.find("mixed", ["one-0", "bulk-0"])
        kept = unpack_rows(MIXED, [logged["one-0"].features, logged["bulk-0"].features])
    finally:
        store.close()
    assert (kept["clip"][0] == rows["clip"][0]).all()
    assert all((values[:1] == values[1:]).all() for name, values in kept.items() if name not in ("id", "load"))
    assert np.isnan(kept["load"][:, 1, 0]).all()


def test_a_forecast_is_answered_by_channel_and_its_truth_told_as_steps(service: Service) -> None:
    past = np.arange(12.0).reshape(6, 2)
    answer = asked(service, "coming", [{"id": "now", "past": past.tolist()}]).json()["predictions"][0]
    assert {name: len(steps) for name, steps in answer["forecast"].items()} == {"north": 2, "south": 2}
    truth = [[12.0, 13.0], [14.0, 15.0]]

    def tell(label: Any) -> httpx.Response:
        labels = [{"id": "now", "label": label}]
        return httpx.post(f"{service.url}/v1/coming/labels", json={"labels": labels})

    assert tell(truth).json()["new"] == 1
    assert tell(truth).json()["repeated"] == 1
    assert tell([[12.0, 13.0], [14.0, 16.0]]).json()["corrected"] == 1
    assert "its shape is (1, 2)" in tell([[12.0, 13.0]]).json()["error"]
    assert tell([[12.0, None], [14.0, 15.0]]).status_code == 422
    store = open_store(service.store_url)
    try:
        (logged,) = store.predictions.find("coming", ["now"]).values()
    finally:
        store.close()
    forecast = np.array([answer["forecast"]["north"], answer["forecast"]["south"]]).T
    assert losses_in(answers_of([logged]), "forecast") == pytest.approx(np.abs(forecast - [[12, 13], [14, 16]]).mean())
    assert answers_of([logged]).watched["prediction.south.last"] == pytest.approx(forecast[-1, 1])
