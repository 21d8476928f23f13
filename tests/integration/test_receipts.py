import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_parts import Orchard, artifacts, judgement, plums
from store_parts import NOON, answer, generation, project, race, store
from typer.testing import CliRunner

from data.errors import LostRace
from data.schema import Rows
from holdfast.cli import app
from models.predictor import manifest_sha256
from monitoring.audit import drawn
from monitoring.declarations import Labels
from monitoring.records import Label
from monitoring.store import Store
from monitoring.store.receipts import Receipt
from tasks import fitting, history, promotion, receipts, registration, role_files
from tasks.hindsight import MOST, counting
from tasks.leases import leased
from tasks.resources import Resources
from tasks.settings import Settings
from tasks.trials import GOVERNOR

__all__ = ["project", "store"]
FORTNIGHT = timedelta(days=14, hours=2)


@pytest.fixture(scope="module")
def bad(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on the same rows with every label turned round."""
    project = Resources(Settings(home=trained.parent, projects=str(trained.parent / "projects"))).project("plums")
    folder = tmp_path_factory.mktemp("bad") / "run"
    shutil.copytree(trained, folder)
    rows = role_files.read_role(folder, project.schema, "train")
    turned = np.where(rows["ripe"] == "yes", "no", "yes").astype(object)
    role_files.write_role(folder, project.schema, "train", [{**rows, "ripe": turned}], len(turned))
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    return folder


def registered(orchard: Orchard, folder: Path) -> str:
    kept, orchard.trained = orchard.trained, folder
    try:
        return orchard.register("passed")
    finally:
        orchard.trained = kept


def labelled(orchard: Orchard, rows: Rows, prefix: str) -> None:
    """Answers of now, and their labels."""
    ids = orchard.answer(rows, prefix=prefix, ago=timedelta(0))
    orchard.label(ids, rows)


@pytest.fixture
def settled_orchard(orchard: Orchard, bad: Path) -> Orchard:
    """A bad champion was replaced by a good one, beside which a bad candidate was refused."""
    first = registered(orchard, bad)
    promotion.promote(orchard, orchard.name, first, actor="test", reason="it is a test")
    orchard.promote()
    third = registered(orchard, bad)
    with leased(orchard, orchard.name, holder="a test") as run:
        promotion.settle(orchard, orchard.declared, third, judgement("refused"), intent=None, token=run.token)
    return orchard


def test_a_promotion_and_a_refusal_are_settled_once_when_their_labels_have_come(settled_orchard: Orchard) -> None:
    orchard = settled_orchard
    labelled(orchard, plums(300), "r")
    assert receipts.settle(orchard, orchard.name).table == []
    assert receipts.account(orchard, orchard.name).sentence == "2 decisions wait for labels"
    orchard.ahead = FORTNIGHT
    done = race(3, lambda _: receipts.settle(orchard.another(), orchard.name))
    assert sum(len(one.table) for one in done) == 2
    assert receipts.settle(orchard, orchard.name).table == []
    promoted, refused = orchard.store.receipts.of(orchard.name)
    assert (promoted.kind, promoted.version, promoted.against, promoted.paid) == ("promotion", "2", "1", "yes")
    assert (refused.kind, refused.version, refused.against, refused.paid) == ("refusal", "3", "2", "yes")
    assert promoted.detail["gain"] == pytest.approx(-refused.detail["gain"])
    assert promoted.detail["low"] < promoted.detail["gain"] < promoted.detail["high"]
    assert promoted.detail["sentence"].startswith("v2 earned +")
    assert "over keeping v1 for 14 days, on 300 rows" in promoted.detail["sentence"]
    assert refused.detail["sentence"].startswith("refusing v3 was right: it would have earned \N{MINUS SIGN}")
    account = receipts.account(orchard, orchard.name)
    assert account.sentence.endswith("1 of 2 retrainings paid; no refusal was wrong")
    assert history.generations(orchard, orchard.name)[0]["earned"] == promoted.detail["amount"]
    said = CliRunner().invoke(app, ["receipts", orchard.name, "--json", "--home", str(orchard.settings.home)])
    assert [line["paid"] for line in json.loads(said.stdout)[0]["lines"]] == ["yes", "yes"]


def test_rows_are_followed_until_another_version_serves_and_count_from_the_decision_on(
    settled_orchard: Orchard,
) -> None:
    orchard = settled_orchard
    before = orchard.answer(plums(50), prefix="early", ago=timedelta(hours=5))
    orchard.label(before, plums(50))
    labelled(orchard, plums(80, seed=3), "r")
    orchard.promote()
    orchard.answer(plums(40, seed=4), prefix="after", ago=timedelta(0))
    orchard.ahead = timedelta(hours=2)  # the labels' delay is an hour; nobody waits for 14 days any more
    receipts.settle(orchard, orchard.name)
    rows = {one.key[:2]: one.detail.get("rows") for one in orchard.store.receipts.of(orchard.name)}
    assert rows == {("promotion", "2"): 80, ("refusal", "3"): 80}
    assert receipts.account(orchard, orchard.name).waiting == 1


def test_a_version_that_is_gone_is_said_so_once_and_hides_no_other_receipt(
    settled_orchard: Orchard, mlflow_folder: Path
) -> None:
    orchard = settled_orchard
    shutil.rmtree(artifacts(mlflow_folder, orchard, "3") / "model")
    labelled(orchard, plums(100), "r")
    orchard.ahead = FORTNIGHT
    receipts.settle(orchard, orchard.name)
    receipts.settle(orchard, orchard.name)
    promoted, refused = orchard.store.receipts.of(orchard.name)
    assert promoted.paid == "yes"
    assert refused.paid == "unclear"
    assert refused.detail["sentence"].startswith("v3 can't be settled: ")


def test_while_the_registry_is_away_receipts_wait(settled_orchard: Orchard) -> None:
    orchard = settled_orchard
    labelled(orchard, plums(100), "r")
    orchard.ahead = FORTNIGHT
    away = orchard.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    said = receipts.settle(replace(orchard, settings=away), orchard.name)
    assert "others wait" in said.sentence
    assert receipts.account(orchard, orchard.name).waiting == 2
    receipts.settle(orchard, orchard.name)
    assert receipts.account(orchard, orchard.name).waiting == 0


def test_a_version_of_ours_has_its_receipt_on_its_card(orchard: Orchard, tmp_path: Path) -> None:
    orchard.trained = Path(shutil.copytree(orchard.trained, tmp_path / "run"))
    orchard.promote()
    with leased(orchard, orchard.name, holder="a test") as run:
        version = registration.register(orchard, orchard.declared, orchard.trained, holder="a test", token=run.token)
    told = orchard.store.ledger.decisions(orchard.name, subject=f"version {version}", kinds=("register",))
    assert told[0].inputs["seconds"] > 0
    manifest = manifest_sha256(orchard.trained / "model")
    said = judgement("passed")
    registration.tell_verdict(orchard, orchard.declared, version, said, manifest=manifest, champion="1")
    promotion.promote(orchard, orchard.name, version, actor="test", reason="it is a test")
    labelled(orchard, plums(60), "r")
    orchard.ahead = FORTNIGHT
    receipts.settle(orchard, orchard.name)
    [line] = history.card(orchard, orchard.name, version)["receipts"]
    assert line["paid"] == "unclear"  # the same network twice
    stored = orchard.models.read_artifact(orchard.models.run_of(orchard.name, version), "card.html")
    assert "which shows no difference" in stored


def receipt(project: str, **changed: Any) -> Receipt:
    new = Receipt(project, "promotion", "2", "1", 2, NOON, NOON, "yes", {"sentence": "it paid"})
    return replace(new, **changed)


def test_of_receipts_written_at_once_one_is_kept(store: Store, project: str) -> None:
    assert sorted(race(4, lambda _: store.receipts.put(receipt(project)))) == [False, False, False, True]
    assert store.receipts.put(receipt(project, kind="refusal", version="3", generation=2))
    assert [one.version for one in store.receipts.of(project)] == ["2", "3"]
    assert store.receipts.of(project, "3")[0].paid == "yes"


def test_of_many_labelled_rows_some_are_taken_from_everywhere_and_the_same_each_time(
    store: Store, project: str
) -> None:
    store.ledger.append_generation(0, generation(project))
    logged = store.predictions.append([answer(project, f"p{n:04d}", minute=n) for n in range(600)])
    store.labels.record(project, [Label(one.id, "yes", NOON) for one in logged[:500]], NOON)
    end = logged[-1].row_time
    answered, count, ids = store.receipts.labelled(project, 1, logged[0].at, end, 100)
    assert (answered, count) == (600, 500)
    assert 90 <= len(ids) <= 100
    places = np.array([int(id_[1:]) for id_ in ids])
    assert np.diff(places).max() <= 10  # no stretch is left out
    assert store.receipts.labelled(project, 1, logged[0].at, end, 100)[2] == ids
    assert MOST >= 10_000


def test_labels_of_selected_rows_are_marked_unless_an_audit_sample_stands_for_all() -> None:
    ids = [f"p{n}" for n in range(1000)]
    audited = set(np.array(ids)[drawn(ids, 0.2)].tolist())
    assert counting(Labels(), ids, 1000) == (ids, False)
    assert counting(Labels(coverage="selected"), ids[:100], 1000) == (ids[:100], True)
    sampled = Labels(coverage="selected", audit_share=0.2)
    known = [one for one in ids if one in audited or one in ids[:50]]
    assert set(counting(sampled, known, 1000)[0]) == audited
    assert counting(sampled, known, 1000)[1] is False
    assert counting(sampled, ids[:100], 1000) == (ids[:100], True)  # most of the sample waits for labels


AUTO, APPROVE = 'promote="auto"', 'promote="approve"'


@pytest.fixture
def lost_orchard(orchard: Orchard, bad: Path) -> Orchard:
    """A good champion was replaced by a bad one without a person, and the labels of two weeks have come."""
    return losing(orchard, bad, actor=GOVERNOR)


def losing(orchard: Orchard, bad: Path, *, actor: str) -> Orchard:
    orchard.declare((AUTO, APPROVE))
    orchard.promote()
    second = registered(orchard, bad)
    promotion.promote(orchard, orchard.name, second, actor=actor, reason="it is a test")
    labelled(orchard, plums(300), "r")
    orchard.ahead = FORTNIGHT
    return orchard


def told(orchard: Orchard, words: str) -> int:
    """Count the alerts in the log channel that say something."""
    sent = orchard.store.outbox.due(orchard.now() + timedelta(days=1))
    return sum(one.channel == "log" and words in str(one.payload.get("text")) for one in sent)


def test_where_people_promote_a_loss_is_told_once_with_the_way_back(lost_orchard: Orchard) -> None:
    orchard = lost_orchard
    way = f"to let version 1 serve again: `holdfast rollback {orchard.name} --to 1"
    assert way in receipts.settle(orchard, orchard.name).sentence
    assert receipts.settle(orchard, orchard.name).sentence == "no receipt is due"
    assert orchard.generations == ["1", "2"]
    assert told(orchard, way) == 1


def test_where_versions_are_promoted_without_a_person_a_loss_is_undone_once(lost_orchard: Orchard) -> None:
    orchard = lost_orchard
    orchard.declare((APPROVE, AUTO))
    race(3, lambda _: receipts.settle(orchard.another(), orchard.name))
    receipts.settle(orchard, orchard.name)
    assert orchard.generations == ["1", "2", "1"]
    assert orchard.serving.actor == "receipts"
    assert "v2 earned \N{MINUS SIGN}" in orchard.serving.reason
    assert told(orchard, "version 1 serves again") == 1


def test_what_a_person_wanted_to_serve_is_not_undone_without_one(orchard: Orchard, bad: Path) -> None:
    losing(orchard, bad, actor="ann").declare((APPROVE, AUTO))
    assert "`holdfast rollback" in receipts.settle(orchard, orchard.name).sentence
    assert receipts.settle(orchard, orchard.name).sentence == "no receipt is due"
    assert orchard.generations == ["1", "2"]
    receipts.settle(orchard, orchard.name, agreed=True)
    assert orchard.generations == ["1", "2", "1"]


def test_a_rollback_of_one_generation_leaves_the_next_alone(lost_orchard: Orchard) -> None:
    orchard = lost_orchard
    lost = orchard.serving
    third = orchard.promote()
    with pytest.raises(LostRace, match="generation 3"):
        promotion.rollback(orchard, orchard.name, "1", actor="receipts", reason="a loss", over=lost)
    assert orchard.generations == ["1", "2", third]


def test_a_loss_that_a_killed_call_left_standing_is_undone_by_the_next(lost_orchard: Orchard) -> None:
    orchard = lost_orchard
    receipts.settle(orchard, orchard.name)
    orchard.declare((APPROVE, AUTO))
    assert receipts.settle(orchard, orchard.name).sentence.endswith("version 1 serves again")
    assert orchard.generations == ["1", "2", "1"]


def test_labels_that_people_chose_undo_nothing(lost_orchard: Orchard) -> None:
    orchard = lost_orchard
    orchard.declare((APPROVE, AUTO), ("delay=timedelta(hours=1)", 'delay=timedelta(hours=1), coverage="selected"'))
    receipts.settle(orchard, orchard.name)
    (receipt,) = orchard.store.receipts.of(orchard.name)
    assert receipt.paid == "no"
    assert orchard.generations == ["1", "2"]
    assert told(orchard, "v2 earned") == 0


def test_where_the_version_before_is_gone_people_are_told_once(lost_orchard: Orchard, mlflow_folder: Path) -> None:
    orchard = lost_orchard
    receipts.settle(orchard, orchard.name)
    shutil.rmtree(artifacts(mlflow_folder, orchard, "1") / "model")
    orchard.declare((APPROVE, AUTO))
    receipts.settle(orchard, orchard.name)
    assert orchard.generations == ["1", "2"]
    assert told(orchard, "v2 earned") == 1
