import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pages_parts
import pytest
import serving_parts as parts
from store_parts import KINDS, held, new_database

from data.environment import child_environment
from data.packing import row_hash, unpack_rows
from monitoring.store import open_store

ROW = {"size": 3.0, "note": "a"}


@pytest.fixture(scope="module", params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Service]:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    for name, write in (("fruit", parts.fruit_version), ("logs", parts.logarithm_version)):
        parts.point(home, name, 1, write(home / "generations" / name / "1"))
    with parts.serving(home, HOLDFAST_DATABASE_URL=new_database(request.param, request, home)) as running:
        yield running


@pytest.fixture
def client(service: parts.Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as one:
        yield one


def predict(client: httpx.Client, rows: list[Any], project: str = "prices") -> httpx.Response:
    return client.post(f"/v1/{project}/predict", json={"rows": rows})


def test_an_answer_is_in_the_log_with_the_features_the_generation_and_the_times(
    client: httpx.Client, service: parts.Service
) -> None:
    sold = datetime(2026, 1, 31, 11, 30, tzinfo=UTC)
    answer = predict(client, [{**ROW, "id": "first", "time": "2026-01-31T12:30:00+01:00"}, ROW]).json()
    unnamed = answer["predictions"][1].pop("id")
    assert answer == {
        "project": "prices",
        "generation": 1,
        "version": "101",
        "predictions": [{"id": "first", "value": 6.0}, {"value": 6.0}],
    }
    store = open_store(service.store_url)
    first, second = store.predictions.get("prices", "first"), store.predictions.get("prices", unnamed)
    store.close()
    assert first is not None
    assert second is not None
    assert (first.generation, first.row_time, first.output) == (1, sold, {"value": 6.0})
    assert second.row_time == second.at
    assert abs(second.at - datetime.now(UTC)) < timedelta(seconds=20)
    rows = unpack_rows(parts.PRICES, [first.features])
    assert (rows["house"][0], rows["size"][0], rows["note"][0]) == ("first", 3.0, "a")
    found = client.get("/v1/prices/predictions/first").json()
    assert (found["features_sha256"], found["output"]) == (row_hash(first.features), {"value": 6.0})


def test_a_class_is_answered_with_its_confidence_and_all_probabilities(client: httpx.Client) -> None:
    answer = predict(client, [{"weight": 4}, {"weight": -4}], "fruit").json()["predictions"]
    assert [row["class"] for row in answer] == ["pear", "apple"]
    assert answer[0]["confidence"] == answer[0]["probabilities"]["pear"] > 0.99
    assert sum(answer[0]["probabilities"].values()) == pytest.approx(1)


def test_the_same_id_gets_the_same_answer_and_other_features_under_it_a_conflict(client: httpx.Client) -> None:
    first = predict(client, [{**ROW, "id": "again"}])
    assert predict(client, [{"house": "again", **ROW}]).content == first.content
    conflict = predict(client, [ROW, {**ROW, "id": "again", "size": 4}])
    assert (conflict.status_code, conflict.json()["where"]) == (409, "rows[1].id")


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b"[]", 400, "body"),
        (b"null", 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b"[" * 5000, 400, "body"),
        (b'{"rows":[{"size":NaN,"note":"a"}]}', 400, "body"),
        (b'{"rows":[{"size":Infinity,"note":"a"}]}', 400, "body"),
        (b'{"rows":[{"size":1e999,"note":"a"}]}', 400, "body"),
        (b'{"rows":[{"size":1,"note":"\\ud800"}]}', 400, "body"),
        (b"{}", 422, "rows"),
        (b'{"row":[]}', 422, "row"),
        (b'{"rows":[],"x":1}', 422, "x"),
        (b'{"rows":[]}', 422, "rows"),
        (b'{"rows":[{"size":true,"note":"a"}]}', 422, "rows[0].size"),
        (b'{"rows":[{"size":1e9,"note":"a"}]}', 422, "rows[0].size"),
        (b'{"rows":[{"size":1}]}', 422, "rows[0].note"),
        (b'{"rows":[{"size":1,"note":"a","siez":2}]}', 422, "rows[0].siez"),
        (b'{"rows":[{"size":1,"note":"a","id":"a"},{"size":1,"note":"a","id":"a"}]}', 422, "rows[1].id"),
    ],
)
def test_whatever_is_sent_is_refused_with_the_place_and_never_with_a_5xx(
    client: httpx.Client, body: bytes, status: int, where: str
) -> None:
    answer = client.post("/v1/prices/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error", "where"}
    assert answer.json()["where"] == where


def test_an_unseen_level_of_an_open_set_and_a_null_are_answered(client: httpx.Client) -> None:
    assert predict(client, [{"size": 1, "note": "zebra"}, {"size": 1, "note": None}]).status_code == 200


def test_paths_methods_types_and_sizes_that_are_not_served_are_named(client: httpx.Client) -> None:
    unknown = predict(client, [ROW], "price")
    assert (unknown.status_code, "did you mean 'prices'?" in unknown.json()["error"]) == (404, True)
    untrained = predict(client, [ROW], "digits")
    assert (untrained.status_code, untrained.json()["error"]) == (503, "digits has no champion yet: run train/digits")
    assert client.get("/v1/prices/predict").status_code == 405
    assert client.get("/nowhere").json() == {"error": "Not Found", "where": "/nowhere"}
    assert client.post("/v1/prices/predict", content=b"size=1").status_code == 415
    assert predict(client, [ROW] * 1001).json()["error"] == "1001 rows; at most 1000 a request"
    assert predict(client, [ROW] * 1000).status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(service: parts.Service) -> None:
    head = b"POST /v1/prices/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as one:
        one.sendall(head + b"content-length: 100000000\r\n\r\n{")
        assert one.recv(4096).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as one:
        one.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(9):
            one.sendall(chunk)
        assert one.recv(4096).startswith(b"HTTP/1.1 413")


def test_an_output_that_is_not_finite_fails_by_name_and_is_not_logged(
    client: httpx.Client, service: parts.Service
) -> None:
    store = open_store(service.store_url)
    answer = predict(client, [ROW, {**ROW, "size": -1}], "logs")
    assert (answer.status_code, answer.json()["where"]) == (503, "rows[1]")
    assert "non-finite output" in answer.json()["error"]
    assert store.predictions.count("logs") == 0
    store.close()
    assert predict(client, [ROW], "logs").status_code == 200


def test_labels_are_checked_by_the_target_and_counted(client: httpx.Client) -> None:
    predict(client, [{"weight": 1, "id": "f1"}, {"weight": 1, "id": "f2"}], "fruit")

    def label(*labels: dict[str, Any]) -> httpx.Response:
        return client.post("/v1/fruit/labels", json={"labels": list(labels)})

    known = label(
        {"id": "f1", "label": "pear"}, {"id": "f2", "label": "pear"}, {"id": "nobody", "label": "pear"}
    ).json()
    assert (known["new"], known["unknown"]) == (2, 1)
    again = label({"id": "f1", "label": "pear"}, {"id": "f2", "label": "apple"}).json()
    assert (again["repeated"], again["corrected"]) == (1, 1)
    assert client.get("/v1/fruit/predictions/f2").json()["label"] == "apple"
    for wrong, where in (
        ({"id": "f1", "label": "plum"}, "labels[0].label"),
        ({"id": "f1", "label": 1}, "labels[0].label"),
        ({"id": "f1"}, "labels[0].label"),
        ({"label": "pear"}, "labels[0].id"),
        ({"id": "f1", "label": "pear", "at": 1}, "labels[0].at"),
        ({"id": "f1", "label": "pear", "time": "now"}, "labels[0].time"),
    ):
        refused = label(wrong)
        assert (refused.status_code, refused.json()["where"]) == (422, where), refused.text
    nan = client.post(
        "/v1/prices/labels",
        content=b'{"labels":[{"id":"a","label":NaN}]}',
        headers={"content-type": "application/json"},
    )
    assert nan.status_code == 400


def test_labels_of_many_transactions_are_counted_together(client: httpx.Client) -> None:
    ids = [f"many-{i:04}" for i in range(1100)]
    assert predict(client, [{**ROW, "id": id_} for id_ in ids[600:]]).status_code == 200
    labels = {"labels": [{"id": id_, "label": 1.0} for id_ in ids]}
    first, second = (client.post("/v1/prices/labels", json=labels).json() for _ in range(2))
    assert (first["new"], first["unknown"], first["unknown_ids"]) == (500, 600, ids[:20])
    assert (second["repeated"], second["unknown"], second["new"]) == (500, 600, 0)


def test_a_locked_store_gives_a_503_with_the_reason_in_bounded_time(
    client: httpx.Client, service: parts.Service
) -> None:
    with held(service.store_url):
        refused = predict(client, [{**ROW, "id": "locked"}])
        assert (refused.status_code, "lock" in refused.json()["error"]) == (503, True)
        assert refused.elapsed < timedelta(seconds=4)
        assert "lock" in client.get("/readyz").json()["store"]
    assert predict(client, [{**ROW, "id": "locked"}]).status_code == 200
    assert client.get("/readyz").json()["store"] == "ok"


ASK_ONE_PROCESS = """
import json, sys, threading, time, urllib.request
from serving.__main__ import create_server
from tasks.settings import read_settings

incident = int(sys.argv[1])
server = create_server(read_settings())
thread = threading.Thread(target=server.run)
thread.start()
while not server.ready.exists():
    time.sleep(0.02)
url = f"http://127.0.0.1:{server.config.port}"
body = json.dumps({"rows": [{"size": 1, "note": "a", "id": "x"}]}).encode()
headers = {"content-type": "application/json"}
for path, data in (
    ("/v1/prices/predict", body),
    ("/v1/prices/labels", b'{"labels":[{"id":"x","label":2}]}'),
    ("/", None),
    ("/docs", None),
    ("/readyz", None),
    ("/incidents", None),
    (f"/incidents/{incident}", None),
):
    request = urllib.request.Request(url + path, data, headers if data else {})
    assert urllib.request.urlopen(request).status == 200, path
page = urllib.request.urlopen(f"{url}/incidents/{incident}")
cookie, token = page.headers["set-cookie"].partition(";")[0], page.read().decode().partition('"token" value="')[2][:64]
form = urllib.request.Request(f"{url}/incidents/{incident}/acknowledge", f"token={token}".encode(), {"cookie": cookie})
assert "acknowledged by local" in urllib.request.urlopen(form).read().decode()
server.should_exit = True
thread.join()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_process_loads_none_of_the_heavy_tools(tmp_path: Path) -> None:
    incident = pages_parts.history(tmp_path, pages_parts.Words())
    variables = {"HOLDFAST_SERVICE_PORT": str(parts.free_port()), "HOLDFAST_EMBEDDED": "1"}
    environment = child_environment(tmp_path, variables)
    done = subprocess.run(
        [sys.executable, "-c", ASK_ONE_PROCESS, str(incident)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "mlflow", "pandas", "prefect", "pyarrow", "great_expectations", "evidently", "dvc"}
    assert not list((tmp_path / "run").iterdir())
