from pathlib import Path

import pytest
from loop_parts import Orchard, damage

from data.errors import Corrupt, NoSuchVersion
from data.schema import length
from models.predictor import manifest_sha256
from tasks.comparison import unlearned
from tasks.preparation import read_role
from tasks.rejudging import judge_anew


def test_a_version_is_judged_anew_without_training_and_leaves_no_trace(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    judgement, manifest, champion = judge_anew(orchard, orchard.declared, version)
    assert (judgement.verdict, champion) == ("passed", None)
    assert manifest == manifest_sha256(orchard.trained / "model")
    assert orchard.store.ledger.decisions(orchard.name) == []
    assert list(orchard.settings.home.glob(".judging-*")) == []


def test_it_is_compared_with_what_serves_now(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    serving = orchard.promote()
    judgement, _, champion = judge_anew(orchard, orchard.declared, version)
    assert (judgement.verdict, champion) == ("kept", serving)  # it is the same network
    waived, _, _ = judge_anew(orchard, orchard.declared, version, waived=("better",))
    assert (waived.verdict, waived.waived) == ("passed", ("better",))
    assert waived.anchor is not None


def test_what_is_not_what_was_registered_is_not_judged(orchard: Orchard, mlflow_folder: Path) -> None:
    version = orchard.register()
    damage(mlflow_folder, orchard, version)
    with pytest.raises(Corrupt, match=r"network\.onnx"):
        judge_anew(orchard, orchard.declared, version)
    with pytest.raises(NoSuchVersion):
        judge_anew(orchard, orchard.declared, "99")


def test_rows_without_a_time_that_the_champion_learned_from_do_not_judge(orchard: Orchard) -> None:
    version = orchard.promote()
    exchanged = judge_anew(orchard, orchard.declared, version)[0]
    orchard.declare(("exchangeable=True, ", ""))
    rows = {role: read_role(orchard.trained, orchard.declared.schema, role) for role in ("train", "judge", "anchor")}
    fit = {role: unlearned(orchard, orchard.declared, orchard.serving, rows[role]) for role in rows}
    assert sum(map(len, fit.values())) == sum(map(length, rows.values())) == 320
    newest = sum(mask.sum() for mask in fit.values())  # as dealt by order: the newest quarter, and the anchor
    assert 80 <= newest < 160
    ordered = judge_anew(orchard, orchard.declared, version)[0]
    assert ordered.verdict == exchanged.verdict == "kept"
