import json
from argparse import Namespace
from pathlib import Path

import pytest

from bench import reference
from bench.reference_page import lines, page
from projects import discovery

TARGETS = json.loads(reference.TARGETS.read_text())


def row(**metrics: dict[str, object]) -> dict[str, object]:
    shared = {"project": "iris", "protocol": "10-fold", "command": "c", "device": "cpu", "machine": "m", "seconds": 3.2}
    return {**shared, "metric": next(iter(metrics), ""), "metrics": metrics}


def target_cell(found: dict[str, object], **target: object) -> str:
    asked = {"project": "iris", "protocol": "10-fold", "metric": "accuracy", **target}
    return lines(row(accuracy=found), [asked])[0].split(" | ")[4]


def test_the_page_is_what_was_found() -> None:
    assert reference.PAGE.read_text() == page(reference.read(), TARGETS), "run `python bench/reference.py --only`"


def test_every_shipped_project_has_a_command_of_its_own_and_every_target_a_command_that_answers_it() -> None:
    made = reference.jobs(TARGETS)
    assert {job.project for job in made} == set(discovery.shipped())
    assert len({job.command for job in made}) == len(made)
    asked = {(one["project"], one["protocol"]) for one in TARGETS}
    measured = {(one["project"], one["protocol"]) for one in reference.read() if "failed" not in one}
    declared = {(job.project, job.command.split()[-2]) for job in made if job.command.startswith("holdfast")}
    scripted = {job.project for job in made if job.command.startswith("python")}
    assert [pair for pair in asked - declared - measured if pair[0] not in scripted] == []


@pytest.mark.parametrize(
    ("found", "target", "said"),
    [
        ({"value": 0.96, "low": 0.951, "high": 0.97}, {"at_least": 0.95}, "at least 0.95: reached"),
        ({"value": 0.96, "low": 0.93, "high": 0.98}, {"at_least": 0.95}, "at least 0.95: reached, not surely"),
        ({"value": 0.94, "low": 0.93, "high": 0.98}, {"at_least": 0.95}, "at least 0.95: **missed**"),
        ({"value": None, "low": None, "high": None}, {"at_least": 0.95}, "at least 0.95: **missed**"),
        ({}, {"at_most": 0.4, "better_than": "x"}, "at most 0.4: **missed**; better than x: **missed**"),
        ({"value": 0.3}, {"at_most": 0.4}, "at most 0.4: reached"),
        (
            {"value": 0.9, "trivial": {"value": 0.8, "gain": 0.1, "low": -0.1, "high": 0.3}},
            {"better_than": "trivial"},
            "better than trivial: reached, not surely",
        ),
        (
            {"value": 0.9, "boosted": {"value": 0.95, "gain": -0.05, "low": -0.1, "high": 0.01}},
            {"not_below": "boosted"},
            "not worse than boosted: reached",
        ),
        (
            {"value": 0.9, "boosted": {"value": 0.95, "gain": -0.05, "low": -0.1, "high": -0.01}},
            {"not_below": "boosted"},
            "not worse than boosted: **missed**",
        ),
    ],
)
def test_a_target_is_reached_by_the_number_and_surely_by_the_interval(
    found: dict[str, object], target: dict[str, object], said: str
) -> None:
    assert target_cell(found, **target) == said


def test_a_target_that_no_row_answers_is_named_with_its_device() -> None:
    asked = [{"project": "iris", "protocol": "10-fold", "metric": "accuracy"}]
    asked += [{**asked[0], "device": "cuda"}, {**asked[0], "protocol": "holdout"}]
    assert page([row(accuracy={"value": 0.9})], asked).endswith(
        "\n\nNot measured yet: iris 10-fold cuda, iris holdout.\n"
    )


def test_a_metric_that_only_a_script_knows_is_an_error_of_which_less_is_better() -> None:
    found = {"metric": "mse", "value": 0.4, "repeat-last": {"value": 1.2}}
    asked = {"project": "iris", "protocol": "10-fold", "metric": "mse", "better_than": "repeat-last"}
    assert "better than repeat-last: reached |" in lines(row(mse=found), [asked])[0]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reference, "FOUND", tmp_path / "reference.json")
    monkeypatch.setattr(reference, "PAGE", tmp_path / "reference.md")
    return tmp_path


def test_a_project_that_fails_is_a_row_with_its_reason_and_takes_the_place_of_what_it_was(own: Path) -> None:
    wanted = Namespace(device="cpu", processes=1)
    path = discovery.shipped()["iris"].path
    job = reference.Job("iris", "holdfast evaluate iris --protocol by-nothing --json", (path,))
    reference.keep(reference.run(job, wanted))
    reference.keep(reference.run(job, wanted))
    (kept,) = reference.read()
    assert kept["failed"] == "error: by-nothing: no category 'nothing'; known: target"
    assert "failed: error: by-nothing" in (own / "reference.md").read_text()


def test_a_run_keeps_numbers_and_reasons_of_a_real_evaluation(own: Path) -> None:
    job = reference.Job("iris", "holdfast evaluate iris --protocol holdout --json", ())
    reference.keep(reference.run(job, Namespace(device="cpu", processes=1)))
    (kept,) = reference.read()
    assert kept["metrics"]["accuracy"]["value"] > 0.8
    assert set(kept["metrics"]["accuracy"]) == {"value", "low", "high", "trivial", "linear", "tree"}
    assert (own / "reference.md").read_text() == page([kept], TARGETS)
