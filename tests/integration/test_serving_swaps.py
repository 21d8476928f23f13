import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import serving_parts as parts
from store_parts import NOON, url

from data.packing import unpack_rows
from monitoring.records import WindowKey
from monitoring.store import open_store

__all__ = ["url"]
SWAPS = 10


def factor(generation: int) -> float:
    return 10.0 + generation


def test_swaps_under_load_lose_no_request_and_mix_no_models(tmp_path: Path) -> None:
    for generation in range(1, SWAPS + 2):  # written before the load, so that the load is what competes
        parts.price_version(tmp_path / "generations" / "prices" / str(generation), factor(generation))
    manifests = {g: manifest_of(tmp_path, g) for g in range(1, SWAPS + 2)}
    parts.point(tmp_path, "prices", 1, manifests[1])
    ended = threading.Event()
    seen: set[int] = set()

    def ask(worker: int) -> list[tuple[float, dict[str, Any]]]:
        answers = []
        with httpx.Client(base_url=service.url, timeout=20) as client:
            while not ended.is_set():
                size = float(len(answers) % 7 + worker)
                rows = [{"size": size, "note": "a"}] * (worker + 1)
                answer = client.post("/v1/prices/predict", json={"rows": rows})
                assert answer.status_code == 200, answer.text
                answers.append((size, answer.json()))
                seen.add(answer.json()["generation"])
                time.sleep(0.01)
        return answers

    with parts.serving(tmp_path) as service, ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(ask, worker) for worker in range(4)]
        for generation in range(1, SWAPS + 2):
            parts.point(tmp_path, "prices", generation, manifests[generation])
            while generation not in seen and not any(worker.done() for worker in workers):
                time.sleep(0.02)
            time.sleep(0.2)
        ended.set()
        answers = [answer for worker in workers for answer in worker.result()]

    assert len(answers) > 200
    assert seen == set(range(1, SWAPS + 2))
    log = open_store(f"sqlite:///{tmp_path / 'holdfast.db'}").predictions
    for size, answer in answers:
        assert answer["version"] == str(100 + answer["generation"])
        assert {row["value"] for row in answer["predictions"]} == {size * factor(answer["generation"])}
    for size, answer in answers[::10]:
        for row in answer["predictions"]:
            logged = log.get("prices", row["id"])
            assert logged is not None
            assert (logged.generation, logged.output) == (answer["generation"], {"value": row["value"]})
            assert unpack_rows(parts.PRICES, [logged.features])["size"][0] == size


def manifest_of(home: Path, generation: int) -> str:
    from models.predictor import manifest_sha256

    return manifest_sha256(home / "generations" / "prices" / str(generation))


def test_a_generation_that_does_not_verify_is_not_swapped_in_and_is_said(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url) as client:
        good = parts.price_version(tmp_path / "generations" / "prices" / "2", 3.0)
        network = tmp_path / "generations" / "prices" / "2" / "network.onnx"
        sound = network.read_bytes()
        network.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        parts.point(tmp_path, "prices", 2, good)
        problem = wait_for_problem(client)
        assert "corrupt" in problem
        assert predict(client, "a")["generation"] == 1
        assert "the old one goes on" in (tmp_path / "service.log").read_text()
        network.write_bytes(sound)
        parts.wait_for_generation(client, "prices", 2)
        assert predict(client, "b")["predictions"] == [{"id": "b", "value": 3.0}]
        for bad in ({"generation": 1, "version": "1", "folder": "1", "manifest_sha256": good}, {"generation": "x"}, []):
            (tmp_path / "generations" / "prices" / "current.json").write_text(json.dumps(bad))
            assert wait_for_problem(client)
            assert predict(client, "c")["generation"] == 2


def test_an_answer_given_by_an_earlier_generation_keeps_its_generation_when_asked_again(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url) as client:
        assert client.get("/readyz").status_code == 200
        first = predict(client, "old")
        parts.promote(tmp_path, 2, factor=3.0)
        parts.wait_for_generation(client, "prices", 2)
        again = predict(client, "old")
        assert (again["generation"], again["predictions"]) == (1, first["predictions"])
        both = client.post("/v1/prices/predict", json={"rows": [row("old"), row("new")]}).json()
        assert both["generation"] == 2
        assert both["predictions"] == [{"id": "old", "value": 2.0, "generation": 1}, {"id": "new", "value": 3.0}]


def test_without_a_generation_the_service_lives_is_not_ready_and_serves_the_first_that_comes(tmp_path: Path) -> None:
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/").status_code == 200
        parts.promote(tmp_path, 1, factor=2.0)
        until = time.monotonic() + 10
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert predict(client, "a")["predictions"] == [{"id": "a", "value": 2.0}]


def test_whatever_was_answered_before_a_kill_is_in_the_log_once_and_as_answered(tmp_path: Path, url: str) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    port = parts.free_port()
    journal: dict[str, float] = {}
    ended = threading.Event()

    def ask(worker: int) -> None:
        number = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while not ended.is_set():
                number += 1
                ids = [f"{worker}-{number}-{i}" for i in range(worker + 1)]
                try:
                    answer = client.post("/v1/prices/predict", json={"rows": [row(one) for one in ids]})
                except httpx.TransportError:
                    time.sleep(0.02)  # the service is dead; what was not answered is not in the journal
                    continue
                assert answer.status_code == 200, answer.text
                journal.update({one["id"]: one["value"] for one in answer.json()["predictions"]})

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(ask, worker) for worker in range(4)]
        for _ in range(3):
            service = parts.Service(tmp_path, port, HOLDFAST_DATABASE_URL=url)
            service.wait()
            wanted = len(journal) + 150
            while len(journal) < wanted and not any(worker.done() for worker in workers):
                time.sleep(0.005)
            service.kill()
        ended.set()
        for worker in workers:
            worker.result()

    store = open_store(url)
    stored = store.predictions.rows(WindowKey("prices", 1, 0, NOON, NOON, 0, 10**9))
    store.close()
    logged = {one.id: one.output["value"] for one in stored}
    assert len(journal) >= 450
    assert journal.items() <= logged.items()
    assert len(stored) == len(logged)
    assert [one.sequence for one in stored] == list(range(len(stored)))


def row(id_: str) -> dict[str, Any]:
    return {"size": 1.0, "note": None, "id": id_}


def predict(client: httpx.Client, id_: str) -> dict[str, Any]:
    answer = client.post("/v1/prices/predict", json={"rows": [row(id_)]})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for_problem(client: httpx.Client) -> str:
    until = time.monotonic() + 10
    while not (problem := client.get("/readyz/prices").json()["projects"]["prices"]["problem"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    return str(problem)
