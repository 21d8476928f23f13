import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from loop_parts import Orchard, artifacts, damage

from data.errors import Corrupt, NoSuchVersion, NotPromotable
from data.schema import length
from data.versions import Snapshot
from data.versions.snapshot import folder_hash
from models.folder import MLMODEL, seal
from models.predictor import manifest_sha256, read_version
from tasks import promoting, promotion
from tasks.comparison import unlearned
from tasks.lineage import lineage_of
from tasks.rejudging import judge_anew
from tasks.role_files import read_role


def test_a_version_is_judged_anew_without_training_and_leaves_no_trace(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    judgement, manifest, champion = judge_anew(orchard, orchard.declared, version)
    assert (judgement.verdict, champion) == ("passed", None)
    assert manifest == manifest_sha256(orchard.trained / "model")
    assert [line.kind for line in orchard.store.ledger.decisions(orchard.name)] == ["register"]
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


def test_what_stands_in_the_registry_alone_is_not_judged(orchard: Orchard, mlflow_folder: Path) -> None:
    by_hand = orchard.register(None, ours=False)
    with pytest.raises(NotPromotable, match=f"not made by a training of this home.*run train/{orchard.name}"):
        promoting.promote(orchard, orchard.name, by_hand, actor="ada", reason="it is good")
    version = orchard.register(verdict=None)
    folder = artifacts(mlflow_folder, orchard, version) / "model"
    said = json.loads((folder / MLMODEL).read_text())
    (folder / MLMODEL).write_text(json.dumps({**said, "note": "another"}, indent=1) + "\n")
    seal(folder)
    read_version(folder)  # whole, and another than the training made
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        promoting.promote(orchard, orchard.name, version, actor="ada", reason="it is good")
    assert orchard.generations == []


def test_what_the_registry_says_that_a_version_learned_from_is_held_to_the_ledger(
    orchard: Orchard, mlflow_folder: Path
) -> None:
    champion, waiting = orchard.promote(), orchard.register()
    snapshot = Snapshot.from_json((orchard.trained / "snapshot.json").read_text())
    nothing = replace(snapshot, files=(), rows=0, hash=folder_hash(())).to_json()
    (artifacts(mlflow_folder, orchard, waiting) / "snapshot.json").write_text(nothing)
    with pytest.raises(Corrupt, match=r"snapshot\.json"):
        promotion.promote(orchard, orchard.name, waiting, actor="ada", reason="it is good")
    with pytest.raises(Corrupt, match=r"snapshot\.json"):
        judge_anew(orchard, orchard.declared, waiting)
    (artifacts(mlflow_folder, orchard, champion) / "snapshot.json").write_text(nothing)
    with pytest.raises(Corrupt, match=r"snapshot\.json"):
        lineage_of(orchard, orchard.declared, orchard.serving)
    assert orchard.generations == [champion]


def test_rows_without_a_time_that_the_champion_learned_from_do_not_judge(orchard: Orchard) -> None:
    version = orchard.promote()
    exchanged = judge_anew(orchard, orchard.declared, version)[0]
    orchard.declare(("exchangeable=True, ", ""))
    rows = {role: read_role(orchard.trained, orchard.declared.schema, role) for role in ("train", "judge", "anchor")}
    lineage = partial(lineage_of, orchard, orchard.declared, orchard.serving)
    fit = {role: unlearned(orchard.declared, orchard.serving, rows[role], lineage) for role in rows}
    assert sum(map(len, fit.values())) == sum(map(length, rows.values())) == 320
    newest = sum(mask.sum() for mask in fit.values())  # as dealt by order: the newest quarter, and the anchor
    assert 80 <= newest < 160
    ordered = judge_anew(orchard, orchard.declared, version)[0]
    assert ordered.verdict == exchanged.verdict == "kept"
