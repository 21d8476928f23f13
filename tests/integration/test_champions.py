import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from loop_parts import Orchard, artifacts

from data.batches import read_batch
from data.errors import TooFewRows
from data.schema import Rows, length
from models.judging import Judgement
from models.outputs import Outputs
from models.predictor import Predictor, manifest_sha256
from monitoring.records import Generation
from tasks import champions, comparison, fitting, preparation, promotion, registration
from tasks.prospects import prospects

NOTHING_NEW = ("better",)  # the orchard's versions are all the same network


def line_of(judgement: Judgement, gate: str) -> dict[str, object]:
    return next(line for line in judgement.table() if line["gate"] == gate)


def judged(orchard: Orchard) -> Judgement:
    return comparison.judge_version(orchard, orchard.declared, orchard.trained, waived=NOTHING_NEW)


def placed(orchard: Orchard, number: int) -> None:
    """Put a generation where the keeper puts it."""
    folder = orchard.settings.home / "generations" / orchard.name / str(number)
    shutil.copytree(orchard.trained / "model", folder)


def test_every_champion_so_far_is_asked_from_this_machine_or_from_the_registry(
    orchard: Orchard, mlflow_folder: Path
) -> None:
    first, second, third = (orchard.promote() for _ in range(3))
    placed(orchard, 1)
    shutil.rmtree(artifacts(mlflow_folder, orchard, first) / "model")  # the keeper's copy is left
    line = line_of(judged(orchard), "best_so_far")
    assert line["result"] == "passed"
    assert "of 3 champions so far" in str(line["sentence"])
    assert "can't be asked" not in str(line["sentence"])
    shutil.rmtree(artifacts(mlflow_folder, orchard, second) / "model")
    judgement = judged(orchard)
    assert judgement.verdict == "passed"
    assert "of 2 champions so far the hardest to match" in str(line_of(judgement, "best_so_far")["sentence"])
    assert f"v{second} can't be asked" in str(line_of(judgement, "best_so_far")["sentence"])
    assert judgement.champion == third


def test_each_model_answers_the_fresh_and_the_anchor_rows_once(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.promote()
    orchard.promote()
    asked: list[tuple[int, int]] = []
    predict = Predictor.predict

    def counted(self: Predictor, rows: Rows) -> Outputs:
        asked.extend([(id(self), length(rows))] if length(rows) > 16 else [])  # its golden rows warm each once
        return predict(self, rows)

    monkeypatch.setattr(Predictor, "predict", counted)
    monkeypatch.setattr(comparison, "latency_ms", lambda *_: 1.0)  # which asks for single rows, many times
    assert line_of(judged(orchard), "best_so_far")["result"] == "passed"
    assert len(asked) == len(set(asked)) == 2 + 2 + 1  # candidate and champion on both, the earlier one on the anchor


def test_a_loss_that_a_person_accepted_is_not_asked_about_again(orchard: Orchard) -> None:
    def served(version: str, *waived: str) -> Generation:
        return Generation(orchard.name, 1, version, "", "", orchard.now(), "", "", [], waived)

    def asked(*generations: Generation) -> list[str]:
        return [one.version for one in champions.before(list(generations))]

    assert asked(served("1"), served("2"), served("1"), served("3")) == ["1", "2"]
    assert asked(served("1"), served("2", "best_so_far"), served("3"), served("4")) == ["2", "3"]
    assert asked(served("1"), served("2", "better"), served("3")) == ["1", "2"]
    assert asked(served("1")) == []
    many = asked(*[served(str(n)) for n in range(101)])
    assert (many[0], many[-1], len(many)) == ("0", "99", champions.MOST)


def test_a_verdict_says_which_anchor_it_stands_on(orchard: Orchard) -> None:
    version = orchard.promote()
    judgement = judged(orchard)
    found = json.loads((orchard.trained / "evaluation" / "metrics.json").read_text())
    assert judgement.anchor == found["anchor_version"]
    assert len(judgement.anchor) == 12
    registration.tell_verdict(orchard, orchard.declared, version, judgement, manifest="m", champion=judgement.champion)
    told = registration.judged(orchard, orchard.name, version)
    assert told is not None
    assert told.inputs["anchor"] == judgement.anchor
    assert {line["gate"] for line in told.inputs["gates"]} >= {"better", "not_worse", "schema_incompatible"}


def test_slices_are_shown_before_anything_serves_and_gate_once_something_does(orchard: Orchard) -> None:
    orchard.declare(("baseline=False", 'baseline=False, slices=("sugar",), slice_rows=20'))
    alone = slices_of(judged(orchard))
    assert [line["gate"] for line in alone] == [f"slice:sugar=Q{n}" for n in (1, 2, 3, 4)]
    assert {line["result"] for line in alone} == {"shown"}
    assert sum(line["rows"] for line in alone) == counted(orchard, "judge") + counted(orchard, "anchor")
    orchard.promote()
    assert {line["result"] for line in slices_of(judged(orchard))} == {"passed"}  # the same network
    orchard.declare(("slice_rows=20", "slice_rows=2000"))
    judgement = judged(orchard)
    assert {line["result"] for line in slices_of(judgement)} == {"shown"}
    again = orchard.register(verdict=None)
    manifest = manifest_sha256(orchard.trained / "model")
    champion = judgement.champion
    registration.tell_verdict(orchard, orchard.declared, again, judgement, manifest=manifest, champion=champion)
    waive = tuple(judgement.waived)
    promotion.promote(orchard, orchard.name, again, actor="ada", reason="a test", waive=waive)
    assert orchard.serving.waived == waive  # what is only shown needs no waiver


def slices_of(judgement: Judgement) -> list[dict[str, Any]]:
    return [line for line in judgement.table() if line["gate"].startswith("slice:")]


def counted(orchard: Orchard, role: str) -> int:
    return length(read_batch(orchard.trained / "prepared" / f"{role}.parquet", orchard.declared.schema))


@pytest.mark.parametrize(
    ("old", "new", "said", "compared"),
    [
        ('"sugar": Number(low=-9.0, high=9.0)', '"sugar": Number(low=-9.0, high=8.0)', "'sugar' is at most 8", True),
        ('"sugar": Number(low=-9.0, high=9.0),', "", "'sugar' is no longer known", False),
    ],
)
def test_a_candidate_that_would_refuse_a_request_is_refused(
    orchard: Orchard, tmp_path: Path, old: str, new: str, said: str, compared: bool
) -> None:
    champion = orchard.promote()
    orchard.declare((old, new))
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(orchard.trained / "snapshot.json", folder)
    preparation.prepare(orchard.declared, orchard.batches, folder)
    fitting.fit(orchard.declared, folder, device="cpu", progress=lambda _share, _what: None)
    judgement = comparison.judge_version(orchard, orchard.declared, folder)
    assert judgement.verdict == "refused"
    line = line_of(judgement, "schema_incompatible")
    assert line["result"] == "failed"
    assert f"requests that v{champion} accepts would be refused: {said}" in str(line["sentence"])
    asked = "can't be asked about these rows" not in str(line_of(judgement, "better")["sentence"])
    assert asked is compared
    waived = comparison.judge_version(orchard, orchard.declared, folder, waived=("schema_incompatible", *NOTHING_NEW))
    assert waived.verdict == "passed"


def test_what_labels_can_prove_is_said_before_a_training(orchard: Orchard) -> None:
    first = prospects(orchard, orchard.declared, orchard.trained)
    assert first.rows == counted(orchard, "judge")
    assert "labels can" in first.sentence
    orchard.promote()
    second = prospects(orchard, orchard.declared, orchard.trained)
    assert second.rows == first.rows
    orchard.declare(("anchor_rows=20", "anchor_rows=2000"))
    with pytest.raises(TooFewRows, match=r"bring more rows.*at least 2000 needed"):
        prospects(orchard, orchard.declared, orchard.trained)


def test_rows_that_judge_again_ask_more_of_another_candidate_but_not_of_the_same(orchard: Orchard) -> None:
    champion = orchard.promote()
    first = judged(orchard)
    assert "have judged" not in str(line_of(first, "better")["sentence"])
    for manifest in ("f" * 64, manifest_sha256(orchard.trained / "model")):
        registration.tell_verdict(orchard, orchard.declared, champion, first, manifest=manifest, champion=champion)
    assert "these rows have judged 1 candidate before" in str(line_of(judged(orchard), "better")["sentence"])
