import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from loop_parts import Orchard, artifacts, damage, judgement
from store_parts import race

from data.errors import Corrupt, LostRace, NoSuchVersion, NotPromotable, StaleVerdict
from models.folder import MLMODEL, seal
from models.predictor import read_version
from monitoring.effects import NewIncident
from monitoring.records import IncidentKind
from tasks import champions, promoting, promotion, referencing, retraining
from tasks.leases import leased


def promote(orchard: Orchard, version: str, waive: tuple[str, ...] = (), reason: str = "") -> str:
    report = promotion.promote(orchard, orchard.name, version, actor="ada", reason=reason, waive=waive)
    return report.sentence


def test_of_promoters_at_once_one_wins_and_the_others_are_told(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [orchard.register() for _ in range(4)]
    together, build = threading.Barrier(4), referencing.build_reference

    def at_once(*arguments: object) -> object:
        together.wait(30)  # each has seen that nothing serves
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "build_reference", at_once)
    got = race(4, lambda number: promote(orchard.another(), versions[number]))
    lost = [one for one in got if isinstance(one, LostRace)]
    assert len(lost) == 3
    winner = versions[next(number for number, one in enumerate(got) if isinstance(one, str))]
    assert orchard.generations == [winner]
    assert orchard.models.alias(orchard.name, "champion") == winner
    assert "judge anew" in str(lost[0])


def test_a_version_that_serves_is_promoted_once(orchard: Orchard) -> None:
    version = orchard.promote()
    decided = len(orchard.store.ledger.decisions(orchard.name))
    assert "serves already, as generation 1" in promote(orchard, version)
    assert orchard.generations == [version]
    assert len(orchard.store.ledger.decisions(orchard.name)) == decided


def test_a_version_that_failed_its_gates_serves_only_where_each_is_waived_with_a_reason(orchard: Orchard) -> None:
    version = orchard.register("refused")
    with pytest.raises(NotPromotable, match="--waive floor:accuracy --waive better --reason"):
        promote(orchard, version)
    with pytest.raises(NotPromotable, match="failed better"):
        promote(orchard, version, waive=("floor:accuracy",), reason="it is an emergency")
    with pytest.raises(NotPromotable, match="reason"):
        promote(orchard, version, waive=("floor:accuracy", "better"), reason=" ")
    assert orchard.generations == []
    promote(orchard, version, waive=("floor:accuracy", "better", "latency"), reason="it is an emergency")
    assert orchard.serving.waived == ("floor:accuracy", "better")  # what did not fail needs no waiver
    assert orchard.serving.actor == "ada"
    promoted = orchard.store.ledger.decisions(orchard.name, kinds=("promote",))[0]
    assert promoted.inputs["waived"] == ["floor:accuracy", "better"]
    assert "emergency" in promoted.reason


def test_a_version_never_judged_or_never_registered_is_not_promoted(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    with pytest.raises(NotPromotable, match=f"never judged: run train/{orchard.name}"):
        promote(orchard, version)
    with pytest.raises(NoSuchVersion, match="has no version 77"):
        promote(orchard, "77")


def test_a_version_whose_files_were_changed_in_the_registry_is_not_promoted(
    orchard: Orchard, mlflow_folder: Path
) -> None:
    champion, version = orchard.promote(), orchard.register()
    damage(mlflow_folder, orchard, version)
    with pytest.raises(Corrupt, match=r"network\.onnx"):
        promote(orchard, version)
    assert orchard.generations == [champion]
    assert orchard.models.alias(orchard.name, "champion") == champion


def test_a_version_that_was_replaced_in_the_registry_by_another_whole_one_is_not_promoted(
    orchard: Orchard, mlflow_folder: Path
) -> None:
    first, second, third = orchard.promote(), orchard.promote(), orchard.register()
    for version in (first, third):
        folder = artifacts(mlflow_folder, orchard, version) / "model"
        said = json.loads((folder / MLMODEL).read_text())
        (folder / MLMODEL).write_text(json.dumps({**said, "note": "another"}, indent=1) + "\n")
        seal(folder)
        read_version(folder)  # nothing is wrong with it but that nobody judged it
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        promote(orchard, third)
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        promotion.rollback(orchard, orchard.name, first, actor="ada", reason="worse")
    assert orchard.generations == [first, second]


def test_a_challenger_that_was_never_compared_with_the_champion_is_judged_anew_whatever_is_waived(
    orchard: Orchard,
) -> None:
    waiting, champion = orchard.register(), orchard.promote()
    for waive in ((), ("better",)):
        with pytest.raises(StaleVerdict, match=f"against no champion, not against {champion}: judge it anew"):
            promote(orchard, waiting, waive=waive, reason="it was the better one all along")
    why = "it was the better one all along"
    promoting.promote(orchard, orchard.name, waiting, actor="ada", reason=why, waive=("better",))
    assert orchard.generations == [champion, waiting]
    assert orchard.serving.waived == ("better",)
    assert {gate["gate"] for gate in orchard.serving.gates} >= {"better", "not_worse", "schema_incompatible"}


def test_a_training_whose_champion_was_replaced_meanwhile_is_judged_anew_and_promotes_nothing_by_its_old_verdict(
    orchard: Orchard,
) -> None:
    judged = orchard.register()
    champion = orchard.promote()
    with leased(orchard, orchard.name, holder="run-1") as run:
        run.version, run.judgement = judged, judgement("passed")
        shutil.copytree(orchard.trained, run.folder)
        report = retraining.settle(orchard, run)
        assert run.outcome == "kept"  # it is the champion's own network
    assert f"against v{champion}" in report.sentence
    assert orchard.generations == [champion]
    assert promotion.compared_with(promotion.verdict_on(orchard, orchard.name, judged)) == champion


def test_a_person_who_promotes_a_version_with_a_stale_verdict_has_it_judged_anew(orchard: Orchard) -> None:
    def asked(version: str, **more: Any) -> str:
        return promoting.promote(orchard, orchard.name, version, actor="ada", reason="it is time", **more).sentence

    never = orchard.register(verdict=None)
    asked(never)
    assert orchard.generations == [never]
    stale = orchard.register()
    orchard.promote()
    with pytest.raises(NotPromotable, match="failed better"):
        asked(stale)
    asked(stale, waive=("better",))
    assert orchard.serving.version == stale
    assert orchard.serving.waived == ("better",)
    assert orchard.store.approvals.latest(orchard.name, stale) is None  # who asks is the approval


def test_rollbacks_go_back_further_each_time_and_to_what_was_rolled_away_from_only_by_name(orchard: Orchard) -> None:
    versions = [orchard.promote() for _ in range(3)]

    def back(to: str | None = None) -> str:
        promotion.rollback(orchard, orchard.name, to, actor="ada", reason="worse")
        return orchard.serving.version

    assert [back(), back()] == [versions[1], versions[0]]
    with pytest.raises(NoSuchVersion, match="no earlier version"):
        back()
    newest = orchard.promote()
    assert back() == versions[0]
    assert back(versions[2]) == versions[2]
    assert back() == versions[0]
    assert newest not in orchard.generations[-2:]


def test_a_rollback_without_an_earlier_champion_says_so(orchard: Orchard) -> None:
    with pytest.raises(NoSuchVersion, match="no earlier version"):
        promotion.rollback(orchard, orchard.name, None, actor="ada", reason="worse")
    orchard.promote()
    with pytest.raises(NoSuchVersion, match="no earlier version"):
        promotion.rollback(orchard, orchard.name, None, actor="ada", reason="worse")
    with pytest.raises(NoSuchVersion, match="version 9 of"):
        promotion.rollback(orchard, orchard.name, "9", actor="ada", reason="worse")


def test_a_rollback_is_a_new_generation_with_the_gates_and_the_reference_of_the_old_one(orchard: Orchard) -> None:
    first, second = orchard.promote(), orchard.promote()
    promotion.rollback(orchard, orchard.name, None, actor="ada", reason="worse in the north")
    assert orchard.generations == [first, second, first]
    assert orchard.serving.reason == "rollback: worse in the north"
    assert orchard.serving.gates == orchard.store.ledger.generations(orchard.name)[0].gates
    references = [orchard.store.references.get(orchard.name, number) for number in (1, 2, 3)]
    assert all(references)
    assert references[2] == references[0]
    assert orchard.models.aliases(orchard.name)["champion"] == first
    assert orchard.models.aliases(orchard.name)["previous"] == second


def test_a_rollback_accepts_no_loss_anew(orchard: Orchard) -> None:
    first, accepted, later = orchard.promote(), orchard.register(), orchard.register()
    serving = orchard.serving
    for version, waived in ((accepted, ("best_so_far",)), (later, ())):
        promotion.serve(
            orchard,
            orchard.declared,
            version,
            replaces=serving,
            manifest=serving.manifest_sha256,
            actor="ada",
            reason="the world has changed",
            gates=serving.gates,
            waived=waived,
        )
        serving = orchard.serving
    promotion.rollback(orchard, orchard.name, accepted, actor="ada", reason="worse")
    assert orchard.generations == [first, accepted, later, accepted]
    asked = champions.summon(orchard, orchard.declared, orchard.settings.home)
    assert list(asked.past) == [later]


def test_a_swap_closes_what_it_answers_and_leaves_faults_to_be_mended(orchard: Orchard) -> None:
    orchard.promote()
    kinds: tuple[IncidentKind, ...] = ("drift", "degraded", "fault")
    for kind in kinds:
        orchard.store.incidents.open(NewIncident(orchard.name, kind, 1, f"a {kind}"), orchard.now())
    orchard.promote()
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["fault"]
    drift = orchard.store.incidents.recent(orchard.name, 3)[-1]
    assert drift.closed_why == "answered by generation 2"


def test_a_promotion_goes_through_though_the_champion_before_was_deleted_in_the_registry(orchard: Orchard) -> None:
    first = orchard.promote()
    orchard.models.client.delete_model_version(orchard.name, first)
    second = orchard.promote()
    assert orchard.generations == [first, second]
    aliases = orchard.models.aliases(orchard.name)
    assert aliases["champion"] == second
    assert "previous" not in aliases
