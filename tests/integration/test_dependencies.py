import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_parts as parts
from faults_parts import Mode, Proxy, proxy
from postgres_parts import Postgres
from store_parts import held, url_of

from monitoring.store import open_store

SECONDS = 4.0  # in which the service answers, whatever is away: 2 are promised, and the machine is busy
ROW = {"size": 3.0, "note": "a"}


@dataclass(frozen=True)
class Town:
    """The service, and everything it could ask, each behind a proxy. `direct`: the store's URL without its proxy."""

    service: parts.Service
    client: httpx.Client
    direct: str
    proxies: dict[str, Proxy]

    def predict(self, id_: str) -> httpx.Response:
        return self.client.post("/v1/prices/predict", json={"rows": [{**ROW, "id": id_}]})


@contextmanager
def town_of(home: Path, server: Postgres, database: str) -> Iterator[Town]:
    direct = server.create(database)
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(proxy()) for name in ("mlflow", "prefect", "alerts")}
        proxies["store"] = stack.enter_context(proxy(server.port, "through"))
        variables = {
            "MLFLOW_TRACKING_URI": proxies["mlflow"].url,
            "PREFECT_API_URL": f"{proxies['prefect'].url}/api",
            "HOLDFAST_ALERTS_LOOPBACK": "true",
            "HOLDFAST_WEBHOOK_URL": proxies["alerts"].url,
            "HOLDFAST_ALERT_URLS": proxies["alerts"].url.replace("http", "json"),
            "HOLDFAST_DATABASE_URL": direct.replace(str(server.port), str(proxies["store"].port)),
        }
        service = stack.enter_context(parts.serving(home, **variables))
        client = stack.enter_context(httpx.Client(base_url=service.url, timeout=SECONDS))
        yield Town(service, client, direct, proxies)


@pytest.fixture(scope="module")
def town(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home = tmp_path_factory.mktemp("town")
    parts.promote(home, 1, factor=2.0)
    with town_of(home, postgres, "town") as built:
        yield built


@pytest.mark.parametrize("mode", ["down", "hanging", "wrong"])
@pytest.mark.parametrize("what", ["mlflow", "prefect", "alerts"])
def test_without_what_only_people_and_trainings_need_predictions_go_on(town: Town, what: str, mode: Mode) -> None:
    town.proxies[what].be(mode)
    answer = town.predict(f"{what}-{mode}")
    assert (answer.status_code, answer.json()["predictions"][0]["value"]) == (200, 6.0)
    labels = {"labels": [{"id": f"{what}-{mode}", "label": 6.0}]}
    assert town.client.post("/v1/prices/labels", json=labels).json()["new"] == 1
    assert [town.client.get(path).status_code for path in ("/readyz", "/healthz", "/")] == [200] * 3
    assert town.proxies[what].accepted == 0


@pytest.mark.parametrize("mode", ["down", "hanging", "wrong"])
def test_without_the_log_each_answer_is_a_503_in_time_that_says_why_and_nothing_acknowledged_is_lost(
    town: Town, mode: Mode
) -> None:
    store = town.proxies["store"]
    assert town.predict(f"before-{mode}").status_code == 200
    store.be(mode)
    try:
        for attempt in range(3):
            assert_refused(town.predict(f"during-{mode}-{attempt}"))
        labels = {"labels": [{"id": f"before-{mode}", "label": 6.0}]}
        assert_refused(town.client.post("/v1/prices/labels", json=labels))
        assert_unready(town.client)
        assert town.client.get("/healthz").status_code == 200
        assert town.client.get("/").status_code in (200, 503)
    finally:
        store.be("through")
    assert_mends(town.client)
    assert town.predict(f"during-{mode}-0").status_code == 200
    assert town.predict(f"after-{mode}").status_code == 200
    log = open_store(town.direct)
    found = [log.predictions.get("prices", f"{when}-{mode}") for when in ("before", "during", "after")]
    log.close()
    assert [one is not None for one in found] == [True, False, True]


def test_a_log_that_another_holds_is_said_in_time(town: Town) -> None:
    with held(town.direct):
        assert_refused(town.predict("held"))
        assert_unready(town.client)
    assert_mends(town.client)
    assert town.predict("held").status_code == 200


def test_a_log_that_another_holds_is_said_in_time_to_many_who_bring_labels_at_once(town: Town) -> None:
    assert town.predict("labelled").status_code == 200

    def label(_: int) -> httpx.Response:
        labels = {"labels": [{"id": "labelled", "label": 6.0}]}
        return client.post("/v1/prices/labels", json=labels)

    wide = httpx.Limits(max_connections=None)
    client = httpx.Client(base_url=town.service.url, timeout=SECONDS, limits=wide)
    with client, ThreadPoolExecutor(200) as many:
        with held(town.direct):
            answers = many.map(label, range(200))
            time.sleep(0.2)  # until they are in
            for path in ("/metrics", "/healthz", "/v1/projects"):
                assert town.client.get(path).status_code == 200
            for answer in answers:
                assert_refused(answer)
        assert_mends(town.client)
        told = label(0).json()
        assert told["new"] + told["repeated"] == 1  # what was begun may be committed after its refusal
        assert "QueuePool limit" not in (town.service.home / "service.log").read_text()


def test_a_log_that_is_full_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url, timeout=SECONDS) as client:
        town = Town(service, client, service.store_url, {})
        assert town.predict("before").status_code == 200
        before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        try:
            assert_refused(town.predict("during"))
            assert_unready(client)
        finally:
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)
        assert_mends(client)
        assert [town.predict(id_).status_code for id_ in ("during", "after")] == [200, 200]
    log = open_store(url_of(tmp_path))
    assert all(log.predictions.get("prices", id_) for id_ in ("before", "during", "after"))
    assert log.predictions.count("prices") == 3
    log.close()


def test_a_service_that_starts_without_its_registry_serves_from_the_verified_cache(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with proxy(mode="hanging") as registry, parts.serving(tmp_path, MLFLOW_TRACKING_URI=registry.url) as service:
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        answer = httpx.post(f"{service.url}/v1/prices/predict", json={"rows": [ROW]})
        assert answer.json()["predictions"][0]["value"] == 6.0
        assert registry.accepted == 0


@pytest.mark.parametrize("mode", ["down", "hanging"])
def test_a_service_that_starts_without_its_log_ends_and_says_why(tmp_path: Path, mode: Mode) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with proxy(mode=mode) as away:
        url = f"postgresql://holdfast@127.0.0.1:{away.port}/holdfast"
        service = parts.Service(tmp_path, parts.free_port(), HOLDFAST_DATABASE_URL=url)
        assert service.process.wait(30) != 0
    assert "the store does not answer" in (tmp_path / "service.log").read_text()


def test_a_service_that_starts_with_a_spoiled_cache_lives_and_is_not_ready(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    network = tmp_path / "generations" / "prices" / "1" / "network.onnx"
    sound = network.read_bytes()
    network.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with parts.serving(tmp_path) as service:
        assert httpx.get(f"{service.url}/healthz").status_code == 200
        told = httpx.get(f"{service.url}/readyz")
        assert (told.status_code, "corrupt" in told.json()["projects"]["prices"]["problem"]) == (503, True)
        refused = httpx.post(f"{service.url}/v1/prices/predict", json={"rows": [ROW]})
        assert refused.status_code == 503, refused.text


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]
    assert answer.headers["retry-after"]


def assert_unready(client: httpx.Client) -> None:
    told: Any = client.get("/readyz")
    assert (told.status_code, told.json()["ready"]) == (503, False)
    assert told.json()["store"] != "ok"


def assert_mends(client: httpx.Client) -> None:
    until = time.monotonic() + 15
    while (told := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < until, told.text
        time.sleep(0.1)
