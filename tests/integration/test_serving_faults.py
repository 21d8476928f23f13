from pathlib import Path

import httpx
import serving_parts as parts


def test_a_fault_of_the_service_is_told_as_json_counted_and_in_the_log(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    fault = parts.broken("import serving.app\nserving.app.rows_of = lambda *_: 1 / 0")
    with parts.serving(tmp_path, command=fault) as service, httpx.Client(base_url=service.url) as client:
        answer = client.post("/v1/prices/predict", json={"rows": [{"size": 1.0, "note": "a"}]})
        assert answer.status_code == 500
        assert "ZeroDivisionError" in answer.json()["error"]
        counted = [line for line in client.get("/metrics").text.splitlines() if "5xx" in line and "prices" in line]
        assert [line for line in counted if line.startswith("holdfast_requests_total") and line.endswith(" 1.0")]
    log = (tmp_path / "service.log").read_text()
    assert "ZeroDivisionError: division by zero" in log
    assert log.count("Traceback") == 1
