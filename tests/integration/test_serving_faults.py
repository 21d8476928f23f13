import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_parts as parts
from prefect_stack import until

from serving.generations import Generations, Served
from serving.trials import Trials


def test_a_fault_of_the_service_is_told_as_json_counted_and_in_the_log(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    fault = parts.broken("import serving.app as a\na.ROWS = dict.fromkeys(a.ROWS, lambda *_: 1 / 0)")
    with parts.serving(tmp_path, command=fault) as service, httpx.Client(base_url=service.url) as client:
        answer = client.post("/v1/prices/predict", json={"rows": [{"size": 1.0, "note": "a"}]})
        assert answer.status_code == 500
        assert "ZeroDivisionError" in answer.json()["error"]
        counted = [line for line in client.get("/metrics").text.splitlines() if "5xx" in line and "prices" in line]
        assert [line for line in counted if line.startswith("holdfast_requests_total") and line.endswith(" 1.0")]
    log = (tmp_path / "service.log").read_text()
    assert "ZeroDivisionError: division by zero" in log
    assert log.count("Traceback") == 1


@pytest.mark.parametrize("number", [2**63, 1e300, -1, "one", [], None])
def test_a_trial_without_a_number_is_none_and_the_store_is_not_asked_for_it(tmp_path: Path, number: Any) -> None:
    recalled: list[int] = []
    parts.promote(tmp_path, 1, factor=2.0)
    pointer = json.loads((tmp_path / "generations" / "prices" / "current.json").read_text())
    trial = {**pointer, "trial": number, "mode": "shadow", "share": 0.0}
    (tmp_path / "generations" / "prices" / "trial.json").write_text(json.dumps(trial))
    generations = Generations(tmp_path, (), lambda _: None, recalled.append)
    generations.look()
    assert generations.of("prices").challenger is None
    assert (recalled, generations.problems) == ([], {})


def test_a_service_beside_whose_champion_stands_nonsense_swaps_on(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url) as client:
        pointer = json.loads((tmp_path / "generations" / "prices" / "current.json").read_text())
        nonsense = {**pointer, "trial": 2**63, "mode": "canary", "share": 0.5}
        (tmp_path / "generations" / "prices" / "trial.json").write_text(json.dumps(nonsense))
        until(lambda: "no trial" in (tmp_path / "service.log").read_text(), 10.0)
        parts.promote(tmp_path, 2, factor=3.0)
        parts.wait_for_generation(client, "prices", 2)


def test_what_fails_for_one_project_is_said_and_tried_again_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in ("apples", "prices"):
        manifest = parts.price_version(tmp_path / "generations" / project / "1", 2.0)
        parts.point(tmp_path, project, 1, manifest)
    generations = Generations(tmp_path, (), lambda _: None, lambda _: None)
    asked: list[str] = []

    def beside(_: Trials, served: Served) -> Served:
        asked.append(served.project)
        if served.project == "apples":
            raise OverflowError("too big")
        return served

    with monkeypatch.context() as narrow:
        narrow.setattr(Trials, "beside", beside)
        generations.look_again()
    assert asked == ["apples", "prices"]
    assert generations.problems == {"apples": "OverflowError: too big"}
    assert generations.of("apples").generation == 1
    generations.retry_at["apples"] = 0.0
    generations.look_again()
    assert generations.problems == {}


def test_the_watch_outlives_a_look_that_fails_and_says_so_until_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(tmp_path, (), lambda _: None, lambda _: None)

    def fail() -> None:
        raise ArithmeticError("odd")

    with monkeypatch.context() as narrow:
        narrow.setattr(generations, "look", fail)
        generations.start()
        assert "ArithmeticError: odd" in generations.stalled
    until(lambda: generations.stalled == "", 10.0)
    assert generations.thread.is_alive()
    generations.stop()
    assert not generations.thread.is_alive()


def test_a_watch_that_has_ended_makes_the_service_unready(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    ending = parts.broken("import serving.generations\nserving.generations.Generations.watch = lambda _: None")
    with parts.serving(tmp_path, command=ending) as service, httpx.Client(base_url=service.url) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "restart the service" in answer.json()["projects"]["prices"]["problem"]
        assert client.post("/v1/prices/predict", json={"rows": [{"size": 1.0, "note": "a"}]}).status_code == 200
