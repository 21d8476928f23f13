import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pytest
import serving_parts as parts
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_parts import service

from data.errors import BadRow
from data.packing import EPOCH, ListPacker, pack_all
from data.schema import Category, Image, Number, Schema
from monitoring.store import open_store
from serving.arrow import read_columns
from serving.refusals import Refused
from serving.validation import ReadColumns, ReadRow, RowReader

__all__ = ["service"]

ARROW = "application/vnd.apache.arrow.stream"
SCHEMA = Schema(
    columns={
        "age": Number(low=0, high=120, integer=True),
        "income": Number(nullable=True),
        "colour": Category(levels=("red", "green")),
        "city": Category(levels=("Oslo",), open=True, nullable=True),
        "photo": Image(height=2, width=3, high=16),
        "bought": Category(levels=("yes", "no")),
    },
    target="bought",
    key="order",
    entity="person",
    time="ordered_at",
)
GOOD: dict[str, Any] = {
    "age": pa.array([41, 42]),
    "income": pa.array([3.5, None]),
    "colour": pa.array(["red", "green"]),
    "city": pa.array(["Bergen", None]),
    "photo": pa.array([[0, 1, 2, 3, 4, 16], [0, 0, 0, 0, 0, 1]], pa.list_(pa.uint8(), 6)),
}


def stream(columns: dict[str, Any], compression: str | None = None, chunk: int | None = None) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=chunk)
    return bytes(sink.getvalue().to_pybytes())


def as_json(columns: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for row in pa.table(columns).to_pylist():
        if isinstance(row.get("photo"), list):
            row["photo"] = [row["photo"][:3], row["photo"][3:]]
        rows.append({name: at.isoformat() if isinstance(at, datetime) else at for name, at in row.items()})
    return list(orjson.loads(orjson.dumps(rows)))


def packed(reader: RowReader, read: list[ReadRow] | ReadColumns) -> list[bytes]:
    if isinstance(read, ReadColumns):
        return pack_all(reader.schema, read.columns)
    pack = ListPacker(reader.schema).pack
    assert pack_all(reader.schema, reader.columns(read)) == [pack(*row[:4]) for row in read]
    return [pack(*row[:4]) for row in read]


def outcome(reader: RowReader, columns: dict[str, Any], limit: int, *, arrow: bool) -> Any:
    try:
        if arrow:
            read: Any = read_columns(reader, stream(columns, chunk=2), limit)
        else:
            read = reader.read(as_json(columns), limit)
    except BadRow as refused:
        return (refused.where, refused.why)
    if "id" in columns or "order" in columns:
        return packed(reader, read)
    ids = read.ids if isinstance(read, ReadColumns) else [row.id for row in read]
    return [row.replace(id_.encode(), b"?") for row, id_ in zip(packed(reader, read), ids, strict=True)]


def arrays(size: int) -> st.SearchStrategy[Any]:
    words = st.sampled_from(
        ["red", "green", "Oslo", "gren", "", "a\0b", "a\nb", "x" * 1001, "i1", "2026-01-31T12:00:00Z"]
    )
    floats = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.sampled_from(
        [0.0, 41.0, 120.0, 120.5, -0.0]
    )
    past = st.integers(-(2**55), 2**50).map(lambda at: EPOCH + timedelta(microseconds=at))

    def of(values: st.SearchStrategy[Any], kind: Any) -> st.SearchStrategy[Any]:
        many = st.lists(st.none() | values, min_size=size, max_size=size) | st.lists(
            values, min_size=size, max_size=size
        )
        return many.map(lambda chosen: pa.array(chosen, kind))

    pixel = st.lists(st.integers(0, 17), min_size=6, max_size=6)
    return st.one_of(
        of(floats, pa.float64()),
        of(st.integers(-1, 121), pa.int32()),
        of(st.integers(0, 2**64 - 1), pa.uint64()),
        of(words, pa.string()),
        of(words, pa.string()).map(lambda made: made.dictionary_encode()),
        of(st.booleans(), pa.bool_()),
        st.just(pa.nulls(size)),
        of(pixel, pa.list_(pa.uint8(), 6)),
        of(past, pa.timestamp("us", "UTC")),
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 5))
    columns = {name: made.take(pa.array([i % 2 for i in range(size)])) for name, made in GOOD.items()}
    columns["id"] = pa.array([f"i{i}" for i in range(size)])
    names = st.sampled_from([*GOOD, "id", "order", "person", "time", "ordered_at", "bought", "agee"])
    for name in draw(st.lists(names, max_size=3)):
        columns[name] = draw(arrays(size))
    for name in draw(st.lists(st.sampled_from(list(columns)), max_size=2)):
        columns.pop(name, None)
    order = draw(st.permutations(list(columns)))
    return {name: columns[name] for name in order}


@given(columns=tables())
@settings(max_examples=300, deadline=None)
def test_json_and_arrow_read_the_same_rows_and_refuse_the_same_values(columns: dict[str, Any]) -> None:
    if not columns:
        return
    reader = RowReader(SCHEMA)
    by_arrow, by_json = (outcome(reader, columns, 4, arrow=arrow) for arrow in (True, False))
    if isinstance(by_arrow, tuple) and "Arrow's" in by_arrow[1]:
        assert isinstance(by_json, tuple) or "timestamp" in by_arrow[1]  # which JSON writes as text
    else:
        assert by_arrow == by_json


def refusal(**changes: Any) -> str:
    with pytest.raises((BadRow, Refused)) as refused:
        read_columns(RowReader(SCHEMA), stream({**GOOD, **changes}), 10)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"income": pa.array([1.0, float("nan")])}, "rows[1].income: a finite number expected"),
        ({"income": pa.array([float("-inf"), 1.0])}, "rows[0].income: a finite number expected"),
        ({"photo": pa.array([b"123456", b"12345"])}, "rows[1].photo: 6 bytes expected, one a pixel, not 5"),
        ({"photo": pa.array([[0] * 6] * 2)}, "rows[0].photo: a fixed-size list of 6 uint8"),
        ({"photo": pa.array([[0] * 7] * 2, pa.list_(pa.uint8(), 7))}, "rows[0].photo: a fixed-size list of 6 uint8"),
        (
            {"photo": pa.array([[0] * 6, [0, 0, 0, 0, None, 0]], pa.list_(pa.uint8(), 6))},
            "rows[1].photo[1][1]: a whole number expected, not null",
        ),
        (
            {"photo": pa.array([[[0] * 3] * 2, [[0] * 3, None]], pa.list_(pa.list_(pa.uint8(), 3), 2))},
            "rows[1].photo[1]: a whole number expected, not null",
        ),
        ({"time": pa.array([1, 2], pa.timestamp("us"))}, "rows[0].time: the column's type names no time zone"),
        ({"time": pa.array([1, 2**62], pa.timestamp("s", "UTC"))}, "rows[1].time"),
        ({"time": pa.array([1, -(2**62)], pa.timestamp("us", "UTC"))}, "rows[1].time"),
        (
            {"time": pa.array([1, 2**62], pa.timestamp("ns", "UTC"))},
            "rows[1].time: '2116-02-20T23:53:38.427387+00:00' lies",
        ),
        ({"age": pa.array([1, 2], pa.duration("s"))}, "rows[0].age: a number expected, not Arrow's duration[s]"),
        ({"id": pa.array(["a", "b"]), "order": pa.array(["a", "c"])}, "rows[1].order: the key is given twice"),
        ({"id": pa.array(["a", "a"])}, "rows[1].id: 'a' is the id of rows[0] too"),
    ],
)
def test_what_only_arrow_can_say_is_refused_with_row_and_column_too(changes: dict[str, Any], told: str) -> None:
    assert refusal(**changes).startswith(told)


def test_pictures_may_be_flat_nested_or_bytes_and_slices_keep_their_rows() -> None:
    reader, pixels = RowReader(SCHEMA), np.arange(12, dtype=np.uint8).reshape(2, 6)
    nested = pa.FixedSizeListArray.from_arrays(
        pa.FixedSizeListArray.from_arrays(pa.array(np.arange(18, dtype=np.uint8) % 17), 3), 2
    )
    for photo in (
        pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 6),
        nested.slice(0, 2),
        pa.array([bytes(row) for row in pixels]),
        pa.array([bytes(row) for row in pixels], pa.binary(6)),
    ):
        read = read_columns(reader, stream({**GOOD, "photo": photo}), 10)
        np.testing.assert_array_equal(read.columns["photo"].reshape(2, 6), pixels)
    read = read_columns(reader, stream({**GOOD, "photo": nested.slice(1)}), 10)
    np.testing.assert_array_equal(read.columns["photo"].ravel(), np.arange(6, 18) % 17)


def test_no_stream_a_compressed_one_and_too_many_rows_are_refused() -> None:
    reader = RowReader(SCHEMA)
    whole = stream(GOOD)
    for body in (b"", b"{}", whole[:-200], b"\xff" * 64, b"\x00" * 64):
        with pytest.raises((Refused, BadRow)) as refused:
            read_columns(reader, body, 10)
        assert not isinstance(refused.value, Refused) or refused.value.status == 400
    with pytest.raises(Refused, match="compressed"):
        read_columns(reader, stream(GOOD, compression="zstd"), 10)
    with pytest.raises(BadRow, match="rows: 2 rows; at most 1 a request"):
        read_columns(reader, whole, 1)
    with pytest.raises(BadRow, match="at least one row"):
        read_columns(reader, stream({name: made.slice(2) for name, made in GOOD.items()}), 1)


@pytest.fixture
def client(service: parts.Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as one:
        yield one


def send(client: httpx.Client, project: str, body: bytes, **headers: str) -> httpx.Response:
    return client.post(f"/v1/{project}/predict", content=body, headers={"content-type": ARROW, **headers})


def prices(ids: list[str]) -> dict[str, Any]:
    sold = [datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=i) for i in range(len(ids))]
    return {
        "size": pa.array([float(i) for i in range(len(ids))]),
        "note": pa.array(["a" if i % 2 else None for i in range(len(ids))]),
        "id": pa.array(ids),
        "sold_at": pa.array(sold, pa.timestamp("ms", "UTC")),
    }


def test_rows_sent_as_arrow_are_answered_and_logged_as_rows_sent_as_json(
    client: httpx.Client, service: parts.Service
) -> None:
    columns = prices([f"arrow-{i}" for i in range(200)])
    by_arrow = send(client, "prices", stream(columns, chunk=50))
    assert by_arrow.status_code == 200, by_arrow.text
    assert client.post("/v1/prices/predict", json={"rows": as_json(columns)}).content == by_arrow.content
    told = send(client, "prices", stream(columns), accept=ARROW)
    assert told.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(told.content).read_all()
    assert table.schema.metadata == {b"project": b"prices", b"generation": b"1", b"version": b"101"}
    plain = [{name: value for name, value in row.items() if name != "generation"} for row in table.to_pylist()]
    assert plain == by_arrow.json()["predictions"]
    store = open_store(service.store_url)
    assert store.predictions.count("prices") == 200
    logged = store.predictions.get("prices", "arrow-7")
    store.close()
    assert logged is not None
    assert logged.row_time == datetime(2026, 1, 31, 0, 0, 7, tzinfo=UTC)


def test_classes_come_back_with_their_probabilities_whichever_way_they_were_asked_for(client: httpx.Client) -> None:
    told = client.post("/v1/fruit/predict", json={"rows": [{"weight": 4}, {"weight": -4}]}, headers={"accept": ARROW})
    rows = pa.ipc.open_stream(told.content).read_all().to_pylist()
    assert [row["class"] for row in rows] == ["pear", "apple"]
    assert rows[0]["probabilities"].keys() == {"apple", "pear"}
    refused = send(client, "fruit", stream({"weight": pa.array([1.0, None])}), accept=ARROW)
    assert (refused.status_code, refused.json()["where"]) == (422, "rows[1].weight")


def test_a_key_holds_for_arrow_too(client: httpx.Client) -> None:
    body = stream({"weight": pa.array([1.0, 2.0])})
    first = send(client, "fruit", body, **{"idempotency-key": "a"})
    assert send(client, "fruit", body, **{"idempotency-key": "a"}).content == first.content
    other = send(client, "fruit", stream({"weight": pa.array([1.0, 3.0])}), **{"idempotency-key": "a"})
    assert other.status_code == 409


def test_a_stream_with_flipped_bytes_is_answered_or_refused_and_the_service_lives(client: httpx.Client) -> None:
    generator, body = random.Random(7), stream(prices(["a", "b"]))
    statuses = set()
    for _ in range(150):
        spoiled = bytearray(body)
        for _ in range(generator.randint(1, 3)):
            spoiled[generator.randrange(len(spoiled))] ^= 1 << generator.randrange(8)
        statuses.add(send(client, "prices", bytes(spoiled)).status_code)
    assert statuses <= {200, 400, 409, 415, 422}
    assert client.get("/healthz").status_code == 200
