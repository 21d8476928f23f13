import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from loop_parts import PLUMS, Orchard

from data.environment import child_environment
from data.errors import SourceUnavailable, TooFewRows
from tasks import recipe_log, recipe_report
from tasks.ingestion import ingest
from tasks.recipes import evaluate, known_rows
from tasks.resources import Resources
from tasks.settings import Settings

THRESHOLD = ("Evaluation(", "Evaluation(threshold=Threshold(level='yes', recall=0.9), ")


def garden(home: Path, *changes: tuple[str, str]) -> Resources:
    text = PLUMS.format(name="plums")
    for old, new in [("Training, Window", "Threshold, Training, Window"), *changes]:
        assert old in text
        text = text.replace(old, new)
    (home / "projects").mkdir()
    (home / "projects" / "plums.py").write_text(text)
    return Resources(Settings(home=home, projects=str(home / "projects")))


def test_a_recipe_is_trained_as_often_as_asked_and_leaves_nothing_but_numbers(tmp_path: Path) -> None:
    resources, told = garden(tmp_path), list[float]()
    result = evaluate(
        resources, "plums", "4-fold", seeds=2, processes=1, progress=lambda share, _: told.append(round(share, 3))
    )
    found = recipe_report.facts(result)
    assert (found["trainings"], found["answers"], found["data"]) == (8, 640, "320 rows of its source")
    assert told == [round(n / 8, 3) for n in range(1, 9)]
    ours = found["metrics"]["accuracy"]
    assert ours["low"] < ours["value"] < ours["high"]
    assert ours["value"] > ours["trivial"]["value"] + 0.2
    assert ours["trivial"]["low"] > 0  # shown to be better than the majority
    assert ours["linear"]["low"] < 0.1
    assert next(iter(found["metrics"])) == "accuracy"
    assert np.sum(found["confusion"]) == 640
    assert {one["seed"] for one in found["folds"]} == {0, 1}
    assert 0 < found["metrics"]["roc_auc"]["low"] < 1
    assert "accuracy" in recipe_report.sentence(found)
    assert {line["metric"] for line in recipe_report.table(found)} >= {"accuracy", "roc_auc", "log_loss"}
    assert json.loads(json.dumps(found)) == found
    assert [path.name for path in tmp_path.iterdir()] == ["projects"]  # registered and landed nothing


def test_two_processes_answer_as_one_does(tmp_path: Path) -> None:
    resources = garden(tmp_path, THRESHOLD)
    here, there = (evaluate(resources, "plums", "2-fold", processes=count) for count in (1, 2))
    for one, other in zip(here.trainings, there.trainings, strict=True):
        assert np.array_equal(one.test, other.test)
        assert np.allclose(one.outputs["network"].values, other.outputs["network"].values, atol=1e-5)
        assert one.outputs["network"].cutoff is not None
    found = recipe_report.facts(here)
    ingest(resources, "plums")
    rows, origin = known_rows(resources, resources.project("plums"))
    assert origin.startswith("320 rows of snapshot ")
    assert sorted(rows["plum"].tolist()) == sorted(here.rows["plum"].tolist())
    assert all(0 < fold["threshold"] < 1 for fold in found["folds"])
    assert "chose its own threshold" in found["note"]


def test_seeds_that_ask_the_same_rows_again_are_no_more_witnesses(tmp_path: Path) -> None:
    resources = garden(tmp_path)
    widths = []
    for seeds in (1, 3):
        result = evaluate(resources, "plums", "stratified-holdout", seeds=1, processes=1)
        again = [one for one in result.trainings for _ in range(seeds)]
        found = recipe_report.facts(type(result)(**{**vars(result), "trainings": again, "seeds": seeds}))
        widths.append(found["metrics"]["roc_auc"]["high"] - found["metrics"]["roc_auc"]["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_where_each_training_is_asked_one_row_ranks_are_taken_over_all(tmp_path: Path) -> None:
    resources = garden(tmp_path, ("320", "40"), ("n:03d", "n:03d"), ("epochs=2", "epochs=1"))
    found = recipe_report.facts(evaluate(resources, "plums", "leave-one-out", processes=1))
    assert found["trainings"] == found["answers"] == 40
    assert found["metrics"]["roc_auc"]["value"] > 0.5
    assert "roc_auc" in {line["metric"] for line in recipe_report.table(found)}


def test_a_source_that_fails_or_has_nothing_good_says_so(tmp_path: Path) -> None:
    broken = garden(tmp_path, ("def rows():\n", "def rows():\n    raise OSError('the disk is gone')\n"))
    with pytest.raises(SourceUnavailable, match="the disk is gone"):
        evaluate(broken, "plums", "2-fold")
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = garden(empty, ('"size": size', '"size": size + 1000'))
    with pytest.raises(TooFewRows, match="good rows in the source of plums"):
        evaluate(nothing, "plums", "2-fold")


def test_where_mlflow_is_up_a_run_keeps_numbers_and_plots_and_no_version(orchard: Orchard, mlflow_folder: Path) -> None:
    result = evaluate(orchard, orchard.name, "2-fold", processes=1)
    found = recipe_report.facts(result)
    page = recipe_log.log(orchard, found)
    run_id = page.partition("/runs/")[2].partition("?")[0]
    run = orchard.models.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] == pytest.approx(found["metrics"]["accuracy"]["value"])
    assert run.data.metrics["accuracy.low"] < run.data.metrics["accuracy"]
    assert run.data.tags["kind"] == "evaluation"
    [folder] = mlflow_folder.glob(f"artifacts/*/{run_id}/artifacts")
    assert {path.name for path in folder.iterdir()} == {"confusion.png", "curves.png", "evaluation.json"}
    assert orchard.models.client.search_model_versions(f"run_id='{run_id}'") == []


def test_the_command_prints_a_table_or_json_and_needs_no_server(tmp_path: Path) -> None:
    garden(tmp_path)
    words = [sys.executable, "-m", "holdfast", "evaluate", "plums", "--protocol", "stratified-holdout"]
    words += ["--home", str(tmp_path / "home"), "--projects", str(tmp_path / "projects"), "--processes", "1"]
    done = subprocess.run(
        [*words, "--json"], env=child_environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    assert found["protocol"] == "stratified-holdout"
    assert found["run"] == ""
