import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import serving_parts as parts
from prometheus_client.parser import text_string_to_metric_families

LABELS = ("route", "project", "status", "reason", "version", "le")
ROW = {"size": 3.0, "note": "a"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Service]:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    parts.point(home, "logs", 1, parts.logarithm_version(home / "generations" / "logs" / "1"))
    with parts.serving(home) as running:
        yield running


def scrape(service: parts.Service) -> dict[tuple[str, ...], float]:
    """Read every sample as Prometheus does: name and values of the labels in LABELS' order, to value."""
    answer = httpx.get(f"{service.url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_is_asked_answered_and_refused_is_counted(service: parts.Service) -> None:
    before = scrape(service)
    with httpx.Client(base_url=service.url) as client:
        for rows in ([ROW], [{**ROW, "id": "m"}], [ROW] * 70):
            assert client.post("/v1/prices/predict", json={"rows": rows}).status_code == 200
        assert client.post("/v1/prices/predict", json={"rows": []}).status_code == 422
        assert client.post("/v1/prices/predict", json={"rows": [{**ROW, "id": "m", "size": 1}]}).status_code == 409
        assert client.post("/v1/logs/predict", json={"rows": [{**ROW, "size": -1}]}).status_code == 503
        assert client.post("/v1/nothing/predict", json={"rows": [ROW]}).status_code == 404
        assert client.post("/v1/prices/labels", json={"labels": [{"id": "m", "label": 1}]}).status_code == 200
        assert client.get("/nowhere").status_code == 404
    after = scrape(service)

    def more(*name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more("holdfast_requests_total", "predict", "prices", "2xx") == 3
    assert more("holdfast_requests_total", "predict", "prices", "4xx") == 2
    assert more("holdfast_requests_total", "predict", "logs", "5xx") == 1
    assert more("holdfast_requests_total", "predict", "", "4xx") == 1
    assert more("holdfast_requests_total", "labels", "prices", "2xx") == 1
    assert more("holdfast_requests_total", "pages", "", "4xx") == 1
    assert more("holdfast_rows_total", "predict", "prices") == 72
    assert more("holdfast_rows_total", "labels", "prices") == 1
    assert more("holdfast_refusals_total", "predict", "prices", "unfit") == 1
    assert more("holdfast_refusals_total", "predict", "prices", "conflict") == 1
    assert more("holdfast_refusals_total", "predict", "logs", "model") == 1
    assert more("holdfast_request_seconds_count", "predict", "prices") == 3
    assert more("holdfast_request_seconds_bucket", "predict", "prices", "+Inf") == 3
    assert more("holdfast_request_seconds_sum", "predict", "prices") > 0
    assert more("holdfast_commit_seconds_count") >= 4
    assert more("holdfast_committed_rows_total") == 73  # the refused conflict's row too
    assert more("holdfast_batch_rows_count") >= 4
    assert after["holdfast_queue_rows",] == 0
    assert after["holdfast_body_bytes",] == 0
    assert after["holdfast_log_problem",] == 0
    assert after["process_resident_memory_bytes",] > 10_000_000


def test_a_swap_is_counted_and_the_generation_that_serves_is_shown(service: parts.Service) -> None:
    before = scrape(service)
    assert before["holdfast_generation", "logs", "101"] == 1
    assert before["holdfast_swaps_total", "logs"] == 1
    parts.point(service.home, "logs", 2, parts.logarithm_version(service.home / "generations" / "logs" / "2"))
    with httpx.Client(base_url=service.url) as client:
        parts.wait_for_generation(client, "logs", 2)
    after = scrape(service)
    assert after["holdfast_generation", "logs", "102"] == 2
    assert ("holdfast_generation", "logs", "101") not in after
    assert after["holdfast_swaps_total", "logs"] == 2
    assert after["holdfast_generation_problem", "logs"] == 0


def test_the_library_that_writes_them_starts_no_thread_and_no_server() -> None:
    script = (
        "import threading, prometheus_client.core, prometheus_client.exposition\n"
        "assert threading.active_count() == 1\n"
        "import serving.telemetry\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
