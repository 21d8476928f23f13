import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from loop_parts import Orchard, artifacts, judgement

from data.errors import NoSuchVersion
from data.versions import Snapshot, SnapshotFile
from data.versions.snapshot import folder_hash
from models import card_value
from models.card_page import page
from models.card_words import first_line
from models.cards import beneath, description, markdown
from models.folder import manifest_sha256
from tasks import aliases, contrast, history, model_cards, promotion, registration
from tasks.fitting import parameters


def trained_version(orchard: Orchard, home: Path) -> str:
    """Register the session's training as a run of the train flow does."""
    folder = home / "run"
    if not folder.exists():
        shutil.copytree(orchard.trained, folder)
    token = orchard.store.leases.acquire(orchard.name, "a test", orchard.settings.lease_ttl, orchard.now())
    version = registration.register(orchard, orchard.declared, folder, holder="a test", token=token)
    orchard.store.leases.release(orchard.name, token)
    return version


def judge(orchard: Orchard, version: str, verdict: str = "passed") -> None:
    serving = orchard.store.ledger.generation(orchard.name)
    registration.tell_verdict(
        orchard,
        orchard.declared,
        version,
        judgement(verdict),  # type: ignore[arg-type]
        manifest=manifest_sha256(orchard.trained / "model"),
        champion=serving.version if serving else None,
    )


def told(orchard: Orchard, version: str) -> card_value.Card:
    """The card, once all that is drawn from it is found to say the same."""
    run_id = orchard.models.run_of(orchard.name, version)
    card = card_value.read(orchard.models.read_artifact(run_id, "card.json"))
    gates = card["verdict"]["gates"] if card["verdict"] else []
    assert orchard.models.read_artifact(run_id, "card.html") == page(card)
    shown = orchard.models.version(orchard.name, version).description
    assert shown == description(first_line(card), gates, beneath(card))
    return card


def test_a_card_follows_its_version_from_registration_to_retirement(orchard: Orchard, tmp_path: Path) -> None:
    one = trained_version(orchard, tmp_path)
    card = told(orchard, one)
    found = json.loads((orchard.trained / "evaluation" / "metrics.json").read_text())
    assert card["quality"] == card_value.plain(found)
    assert card["training"]["parameters"] == parameters(orchard.declared)
    assert card["purpose"]["inputs"]["size"] == "a number at least -9 and at most 9"
    assert (card["version"], card["reproduce"]) == (one, f"holdfast verify {orchard.name}@{one}")
    assert (card["verdict"], card["generations"], card["reference"], card["warnings"]) == (None, [], None, [])
    judge(orchard, one)
    card = told(orchard, one)
    assert (card["verdict"]["outcome"], card["verdict"]["against"]) == ("passed", None)
    assert card["verdict"]["gates"] == judgement("passed").table()
    promotion.promote(orchard, orchard.name, one, actor="ann", reason="it is ripe")
    card = told(orchard, one)
    (term,) = card["generations"]
    assert (term["generation"], term["by"], term["why"], term["until"]) == (1, "ann", "it is ripe", None)
    reference = card["reference"]
    assert (reference["generation"], reference["calibration"]["rows"]) == (1, 40)
    assert set(reference["detectable"]) == {"size", "sugar", "prediction", "confidence"}
    assert "that judged it" in reference["origin"]
    two = orchard.register("kept")  # without a card of its own
    promotion.promote(orchard, orchard.name, two, actor="bob", reason="try it", waive=("better",))
    assert told(orchard, one)["generations"][0]["until"] is not None
    promotion.rollback(orchard, orchard.name, one, actor="ann", reason="no")
    first, again = told(orchard, one)["generations"]
    assert (first["rollback"], again["rollback"], again["until"]) == (False, True, None)


def test_the_page_of_a_version_that_serves_in_spite_of_its_verdict_says_first_that_it_serves(
    orchard: Orchard, tmp_path: Path
) -> None:
    one = trained_version(orchard, tmp_path)
    judge(orchard, one, "kept")
    promotion.promote(orchard, orchard.name, one, actor="ann", reason="a test", waive=("better",))
    page = orchard.models.version(orchard.name, one).description
    assert page.startswith("CHAMPION since ")
    assert "(generation 1), waived: better, by ann: a test; its verdict was KEPT" in page.splitlines()[0]
    assert "CHAMPION since" in orchard.models.read_artifact(orchard.models.run_of(orchard.name, one), "card.html")
    orchard.promote()
    assert orchard.models.version(orchard.name, one).description.startswith("KEPT")
    promotion.rollback(orchard, orchard.name, one, actor="ann", reason="worse")
    page = orchard.models.version(orchard.name, one).description
    assert "(generation 3), by a rollback, waived: better, by ann: rollback: worse" in page.splitlines()[0]


def test_a_training_registered_again_has_the_same_card(orchard: Orchard, tmp_path: Path) -> None:
    one = trained_version(orchard, tmp_path)
    judge(orchard, one, "refused")
    before = told(orchard, one)
    orchard.store.leases.acquire(orchard.name, "a test", orchard.settings.lease_ttl, orchard.now())
    again = registration.register(orchard, orchard.declared, tmp_path / "run", holder="a test", token=1)
    assert again == one
    assert told(orchard, one) == before


def test_a_card_changed_in_the_registry_says_so(
    orchard: Orchard, tmp_path: Path, mlflow_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = trained_version(orchard, tmp_path)
    path = artifacts(mlflow_folder, orchard, one) / "card.json"
    forged = json.loads(path.read_text())
    forged["quality"]["judge"]["accuracy"]["value"] = 1.0
    path.write_text(json.dumps(forged))
    judge(orchard, one)
    (warning,) = told(orchard, one)["warnings"]
    assert "changed in the registry" in warning
    assert warning in markdown(told(orchard, one)).replace("\\", "")
    path.write_text('{"format": 1, "quality": {"judge": [1], "metric": "f1"}}')
    with caplog.at_level(logging.WARNING):
        judge(orchard, one, "refused")  # stands in the ledger, whatever the card is
    assert "the card of version 1 is not renewed" in caplog.text
    assert orchard.models.version(orchard.name, one).description.startswith("REFUSED")


def test_the_keeper_finishes_a_card_that_a_killed_promotion_left(
    orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trained_version(orchard, tmp_path)
    judge(orchard, one)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(aliases, "mirror", killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote(orchard, orchard.name, one, actor="ann", reason="it is ripe")
    assert told(orchard, one)["generations"] == []
    model_cards.renew(orchard, orchard.name)
    assert [term["generation"] for term in told(orchard, one)["generations"]] == [1]
    away = replace(orchard, settings=orchard.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}))
    model_cards.renew(away, orchard.name)  # what is done asks nobody
    away.store.close()


def test_versions_are_listed_shown_and_set_side_by_side(orchard: Orchard, tmp_path: Path) -> None:
    one = trained_version(orchard, tmp_path)
    judge(orchard, one)
    promotion.promote(orchard, orchard.name, one, actor="ann", reason="it is ripe")
    orchard.declare(("epochs=2", "epochs=3"))
    extended(tmp_path / "run", orchard)
    two = trained_version(orchard, tmp_path)
    judge(orchard, two, "kept")
    orchard.register(None)  # by other hands: no card, no score
    rows = history.versions(orchard, orchard.name)
    assert [(row["version"], row["stage"], row["verdict"], row["metric"]) for row in rows] == [
        ("3", "candidate", None, None),
        (two, "candidate", "kept", "accuracy"),
        (one, "champion", "passed", "accuracy"),
    ]
    low, value, high = (rows[2][name] for name in ("low", "value", "high"))
    assert low < value < high
    assert rows[2]["serves_since"] == orchard.serving.at
    found = contrast.compare(orchard, orchard.name, one, two)
    assert found["same_rows"] == {"judge": True, "anchor": True}
    assert "were scored on the same" in found["sentence"]
    assert "version 2 was held against version 1 on the same fresh rows: as a test says" in found["sentence"]
    assert found["parameters"] == {"training.epochs": ["2", "3"]}
    assert [one["rows"] for one in found["data"]["added"]] == [7]
    assert found["data"]["removed"] == []
    assert found["sources"]["changed"] == ["project/" + orchard.project_file(orchard.name).name]
    assert {gate["gate"] for gate in found["gates"]} == {"floor:accuracy", "better"}
    assert contrast.changed_sources(found).startswith("sources that differ: project/")
    told = [row["what"] for row in contrast.rows(found)]
    assert "accuracy (judge rows)" in told
    shown = history.show(orchard, orchard.name, one)
    assert (shown["stage"], shown["aliases"], shown["registry"]) == ("champion", ["champion"], None)
    for wrong, hint in (("9", "the nearest is 3"), ("champion", "the nearest is 3")):
        with pytest.raises(NoSuchVersion, match=hint):
            history.card(orchard, orchard.name, wrong)
    with pytest.raises(NoSuchVersion, match="has no card"):
        contrast.compare(orchard, orchard.name, one, "3")


def extended(folder: Path, orchard: Orchard) -> None:
    """Make of a run's folder that of another training: a batch more, and sources as they are now."""
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    files = (*snapshot.files, SnapshotFile("later.parquet", "ab" * 16, 7, "cd" * 32))
    more = replace(snapshot, files=files, rows=snapshot.rows + 7, hash=folder_hash(files))
    (folder / "snapshot.json").write_text(more.to_json())
    (folder / "code.tar").unlink(missing_ok=True)
