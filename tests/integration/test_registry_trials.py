import json
from pathlib import Path

import pytest
from approval_parts import answer, ask, kinds
from loop_parts import Orchard, Orchestra, damage

from data.errors import BadSetting, HoldfastError, NoTrial, StaleVerdict
from monitoring.store.trials import Trial
from tasks import approving, promotion, trials
from tasks.keeping import Keeper

SHADOW = (
    ('promote="auto"', 'promote="approve"'),
    ("Project, Schema", "Project, Rollout, Schema"),
    ("    governor=", '    rollout=Rollout(mode="shadow"),\n    governor='),
)


@pytest.fixture
def keeper(orchard: Orchard) -> Keeper:
    return Orchestra().keeper(orchard)


@pytest.fixture
def champion(orchard: Orchard, keeper: Keeper) -> str:
    version = orchard.promote()
    keeper.fetch(orchard.name)
    return version


def start(orchard: Orchard, version: str, share: float = 0.1) -> str:
    return trials.start(orchard, orchard.name, version, mode="canary", share=share, actor="ada").sentence


def running(orchard: Orchard) -> Trial:
    found = orchard.store.trials.open(orchard.name)
    assert found is not None
    return found


def pointer(orchard: Orchard) -> dict[str, object] | None:
    path = orchard.settings.home / "generations" / orchard.name / "trial.json"
    return json.loads(path.read_text()) if path.exists() else None


def last(orchard: Orchard) -> tuple[str | None, str]:
    found = orchard.store.trials.history(orchard.name)[-1]
    return found.outcome, found.reason or ""


class TestWhatMayRun:
    def test_a_version_that_passed_is_placed_beside_the_champion_and_stopped_on_request(
        self, orchard: Orchard, keeper: Keeper, champion: str
    ) -> None:
        version = orchard.register()
        assert f"answers 0.1 of the keys of generation 1 (version {champion})" in start(orchard, version)
        keeper.trials.attend()
        trial, before = running(orchard), orchard.pointed
        told = pointer(orchard)
        assert told is not None
        assert (told["trial"], told["version"], told["generation"], told["share"]) == (trial.id, version, 1, 0.1)
        home = orchard.settings.home / "generations" / orchard.name
        assert (home / str(told["folder"]) / "manifest.json").exists()
        shown = trials.show(orchard, orchard.name)
        assert (shown["outcome"], shown["compared"]["behind"]) == ("goes on", [])
        assert "is stopped" in trials.stop(orchard, orchard.name, actor="ada", reason="enough").sentence
        keeper.trials.attend()
        assert sorted(path.name for path in home.iterdir()) == ["1", "current.json"]
        assert orchard.pointed == before
        assert last(orchard) == ("stopped", "stopped by ada: enough")
        assert kinds(orchard) == ["promote", "trial", "trial"]
        with pytest.raises(NoTrial):
            trials.stop(orchard, orchard.name, actor="ada", reason="again")

    def test_what_failed_is_stale_reads_other_columns_or_serves_is_refused_in_one_sentence(
        self, orchard: Orchard, champion: str
    ) -> None:
        stale, refused, unjudged = orchard.register(), orchard.register("refused"), orchard.register(None)
        for version, error, said in (
            (refused, NoTrial, "failed floor:accuracy, better, and people are not asked about it"),
            (unjudged, StaleVerdict, "judged against nothing"),
            (champion, NoTrial, "is the champion"),
            ("99", HoldfastError, "no version 99"),
        ):
            with pytest.raises(error, match=said):
                start(orchard, version)
        with pytest.raises(BadSetting, match="share of the keys above 0"):
            start(orchard, stale, share=0.6)
        promotion.promote(orchard, orchard.name, orchard.register(), actor="test", reason="a test")
        with pytest.raises(StaleVerdict, match=f"judged against {champion}"):
            start(orchard, stale)
        assert orchard.store.trials.history(orchard.name) == []


class TestEndings:
    def test_one_changed_in_the_registry_ends_with_the_reason_and_one_alert_and_the_champion_is_not_touched(
        self, orchard: Orchard, keeper: Keeper, champion: str, mlflow_folder: Path
    ) -> None:
        version = orchard.register()
        start(orchard, version)
        damage(mlflow_folder, orchard, version)
        before = orchard.pointed
        for _ in range(2):
            keeper.trials.attend()
        outcome, reason = last(orchard)
        assert outcome == "unfit"
        assert "network.onnx is corrupt" in reason
        assert (pointer(orchard), orchard.pointed, orchard.generations) == (None, before, [champion])
        assert orchard.outbox() == ["log"]

    def test_its_own_promotion_ends_it_in_the_same_breath(self, orchard: Orchard, champion: str) -> None:
        version = orchard.register()
        start(orchard, version)
        promotion.promote(orchard, orchard.name, version, actor="ada", reason="it did well")
        assert last(orchard) == ("promoted", f"trial 1 promoted: version {version} serves as generation 2")

    def test_a_version_that_waits_for_a_person_is_tried_by_itself_until_a_newer_one_comes_or_a_person_says_no(
        self, orchard: Orchard, keeper: Keeper, champion: str
    ) -> None:
        orchard.declare(*SHADOW)
        first, second = ask(orchard, "question"), ask(orchard)
        trial = running(orchard)
        assert (trial.version, trial.mode, trial.actor) == (second, "shadow", "governor")
        assert [one.outcome for one in orchard.store.trials.history(orchard.name)] == ["superseded", None]
        keeper.trials.attend()
        answer(orchard, approving.reject, second, "not on a Friday")
        keeper.trials.attend()
        outcome, reason = last(orchard)
        assert outcome == "rejected"
        assert "not on a Friday" in reason
        assert pointer(orchard) is None
        with pytest.raises(NoTrial, match="was rejected by ada: it can't be tried"):
            start(orchard, second)  # though it passed
        start(orchard, first)  # about which people are asked
        ask(orchard)
        assert (running(orchard).version, running(orchard).actor) == (first, "ada")
