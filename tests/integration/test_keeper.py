from datetime import timedelta
from pathlib import Path

import pytest
from loop_parts import Orchard, Orchestra, artifacts, damage
from vandal_parts import POISONED, POISONS

from data.errors import Corrupt, HoldfastError, NoSuchVersion
from models.folder import NETWORK
from tasks import placing, promotion
from tasks.keeping import Keeper

GRACE = timedelta(seconds=60)


@pytest.fixture
def orchestra() -> Orchestra:
    return Orchestra()


@pytest.fixture
def keeper(orchard: Orchard, orchestra: Orchestra) -> Keeper:
    return orchestra.keeper(orchard)


def files(orchard: Orchard) -> dict[str, tuple[int, int]]:
    """Every file of the project's generations, with what changes when it is written again."""
    root = orchard.settings.home / "generations" / orchard.name
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_a_card_that_somebody_poisoned_keeps_the_keeper_from_nothing(
    orchard: Orchard, keeper: Keeper, mlflow_folder: Path, poison: str
) -> None:
    poisoned = POISONED.replace("poison", poison)
    serving = orchard.register()
    (artifacts(mlflow_folder, orchard, serving) / "card.json").write_text(poisoned)
    promotion.promote(orchard, orchard.name, serving, actor="ada", reason="it is time")
    asked = orchard.register("refused")
    (artifacts(mlflow_folder, orchard, asked) / "card.json").write_text(poisoned)
    orchard.models.client.set_registered_model_alias(orchard.name, "champion", asked)
    orchard.store.requests.add(orchard.name, asked, "webhook", orchard.now())
    keeper.round()
    assert orchard.pointed is not None
    assert orchard.store.requests.open_ones() == []
    assert orchard.models.alias(orchard.name, "champion") == serving


def test_a_bug_in_one_duty_stops_no_other_and_is_told_once_until_it_is_gone(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    orchard.promote()
    orchard.store.requests.add(orchard.name, orchard.register(), "webhook", orchard.now())

    def broken(*_: object) -> None:
        raise OverflowError("int too large")

    with monkeypatch.context() as bug:
        bug.setattr(keeper.requester, "answer", broken)
        for _ in range(3):
            with pytest.raises(HoldfastError, match="broken 1 failed unexpectedly: OverflowError: int too large"):
                keeper.round()
    assert orchard.pointed is not None
    assert caplog.text.count("Traceback") == 1
    keeper.round()
    assert orchard.store.requests.open_ones() == []


class TestGenerations:
    def test_a_new_generation_lands_verified_and_a_second_round_changes_nothing(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        version = orchard.promote()
        keeper.round()
        assert orchard.pointed == {
            "generation": 1,
            "version": version,
            "folder": "1",
            "manifest_sha256": orchard.serving.manifest_sha256,
        }
        orchard.kept(1)
        before, decided = files(orchard), orchard.store.ledger.decisions()
        orchard.ahead = timedelta(seconds=10)
        keeper.round()
        Orchestra().keeper(orchard).round()
        assert files(orchard) == before
        assert orchard.store.ledger.decisions() == decided

    @pytest.mark.parametrize("where", ["read_version", "write_atomically"])
    def test_a_keeper_killed_on_the_way_points_at_nothing_new_and_the_next_round_finishes(
        self, orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        orchard.promote()
        keeper.fetch(orchard.name)
        second = orchard.promote()
        with monkeypatch.context() as crash:
            crash.setattr(placing, where, interrupted)
            with pytest.raises(KeyboardInterrupt):
                keeper.fetch(orchard.name)
        assert orchard.pointed["generation"] == 1  # type: ignore[index]
        Orchestra().keeper(orchard).fetch(orchard.name)
        assert orchard.pointed["version"] == second  # type: ignore[index]
        orchard.kept(2)
        root = orchard.settings.home / "generations" / orchard.name
        assert sorted(path.name for path in root.iterdir()) == ["1", "2", "current.json"]

    @pytest.mark.parametrize("spoil", ["truncated", "removed", "grown"])
    def test_a_folder_spoiled_after_it_was_pointed_at_is_fetched_again(
        self, orchard: Orchard, keeper: Keeper, spoil: str
    ) -> None:
        orchard.promote()
        keeper.fetch(orchard.name)
        network = orchard.settings.home / "generations" / orchard.name / "1" / "network.onnx"
        if spoil == "removed":
            network.unlink()
        else:
            network.write_bytes(network.read_bytes()[:-1] if spoil == "truncated" else network.read_bytes() + b"!")
        for watcher in (keeper, Orchestra().keeper(orchard)):  # one that has seen it whole, one that has not
            watcher.fetch(orchard.name)
            orchard.kept(1)
        assert orchard.generations == ["1"]

    def test_a_folder_spoiled_before_it_was_pointed_at_is_fetched_again(
        self, orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orchard.promote()
        with monkeypatch.context() as crash:
            crash.setattr(placing, "write_atomically", interrupted)
            with pytest.raises(KeyboardInterrupt):
                keeper.fetch(orchard.name)
        network = orchard.settings.home / "generations" / orchard.name / "1" / NETWORK
        network.write_bytes(network.read_bytes()[:-100])
        keeper.fetch(orchard.name)
        assert orchard.pointed["generation"] == 1  # type: ignore[index]
        orchard.kept(1)

    def test_a_version_changed_after_its_promotion_is_not_served_and_the_champion_before_comes_back(
        self, orchard: Orchard, keeper: Keeper, mlflow_folder: Path
    ) -> None:
        first = orchard.promote()
        keeper.fetch(orchard.name)
        second = orchard.promote()
        damage(mlflow_folder, orchard, second)
        for _ in range(3):
            keeper.fetch(orchard.name)
        assert orchard.generations == [first, second, first]
        assert orchard.serving.actor == "keeper"
        assert "network.onnx is corrupt" in orchard.serving.reason
        assert orchard.pointed["generation"] == 3  # type: ignore[index]
        assert orchard.kept(3).levels == ("no", "yes")
        assert not (orchard.settings.home / "generations" / orchard.name / "2").exists()
        assert orchard.outbox() == ["log"]
        keeper.requester.reconcile(orchard.name)
        assert orchard.store.incidents.open_ones(orchard.name) == []
        Orchestra().keeper(orchard).fetch(orchard.name)
        assert len(orchard.generations) == 3

    def test_a_first_version_changed_after_its_promotion_is_refused_once_and_not_for_ever(
        self, orchard: Orchard, keeper: Keeper, mlflow_folder: Path
    ) -> None:
        damage(mlflow_folder, orchard, orchard.promote())
        with pytest.raises(NoSuchVersion, match="no earlier version"):
            keeper.fetch(orchard.name)
        keeper.fetch(orchard.name)
        keeper.requester.reconcile(orchard.name)
        assert len(orchard.generations) == 1
        assert orchard.pointed is None
        [incident] = orchard.store.incidents.open_ones(orchard.name)
        assert "is not what was promoted" in incident.reason
        assert orchard.outbox() == ["log"]

    def test_where_every_version_was_changed_the_last_verified_one_goes_on_serving(
        self, orchard: Orchard, keeper: Keeper, mlflow_folder: Path
    ) -> None:
        first = orchard.promote()
        keeper.fetch(orchard.name)
        for version in (first, orchard.promote()):
            damage(mlflow_folder, orchard, version)
        with pytest.raises(Corrupt):
            keeper.fetch(orchard.name)
        keeper.fetch(orchard.name)
        assert len(orchard.generations) == 2
        assert orchard.pointed["generation"] == 1  # type: ignore[index]
        orchard.kept(1)

    def test_a_project_whose_file_is_broken_stops_no_other(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra
    ) -> None:
        orchard.serve()
        intent, _ = orchard.store.intents.open(orchard.name, None, orchard.now() - 2 * GRACE)
        orchard.project_file(orchard.name).write_text("project = Project(")
        with pytest.raises(HoldfastError, match="disabled"):
            keeper.round()
        assert orchestra.runs == [f"intent-{intent.id}-1-2"]


class TestIntents:
    @pytest.fixture
    def intent(self, orchard: Orchard) -> int:
        found, _ = orchard.store.intents.open(orchard.name, None, orchard.now())
        return found.id

    def rounds(self, orchard: Orchard, keeper: Keeper, seconds: int) -> None:
        """Let the keeper look once a second or so."""
        for _ in range(0, seconds, 7):
            orchard.ahead += timedelta(seconds=7)
            keeper.see_intents_through()

    def run(self, orchard: Orchard, intent: int, holder: str) -> int:
        """Begin an attempt, as a run does."""
        promise = orchard.store.intents.get(intent)
        assert promise is not None
        token = orchard.store.leases.acquire(orchard.name, holder, timedelta(seconds=30), orchard.now())
        assert orchard.store.intents.claim(intent, promise.attempt, holder, orchard.now())
        return token

    def test_one_without_a_run_gets_one_for_each_grace_period(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        self.rounds(orchard, keeper, 55)
        assert orchestra.asked == []
        self.rounds(orchard, keeper, 21)
        parameters = {"project": orchard.name, "intent": intent}
        assert [(name, said) for name, said, _ in orchestra.asked] == [(f"train/{orchard.name}", parameters)]
        self.rounds(orchard, keeper, 35)
        assert len(orchestra.runs) == 1
        self.rounds(orchard, keeper, 180)
        assert len(orchestra.runs) == 4

    def test_one_whose_run_can_not_be_asked_for_is_tried_again_and_holds_up_no_other(
        self, orchard: Orchard, orchestra: Orchestra, intent: int
    ) -> None:
        other, _ = orchard.store.intents.open("another", None, orchard.now())

        def no_deployment(deployment: str, parameters: dict[str, object], key: str) -> str:
            if deployment == f"train/{orchard.name}":
                raise HoldfastError("no such deployment")
            return orchestra.start_run(deployment, parameters, key)

        keeper = Keeper(orchard, orchestra.emit, no_deployment, orchestra.state, orchestra.end)
        orchard.ahead = 2 * GRACE
        for _ in range(2):
            with pytest.raises(HoldfastError, match="no such deployment"):
                keeper.see_intents_through()
        assert orchestra.runs == [f"intent-{other.id}-1-2"]

    def test_one_whose_run_holds_its_lease_is_left_alone(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        token = self.run(orchard, intent, "run-1")
        for _ in range(30):
            orchard.ahead += timedelta(seconds=20)
            orchard.store.leases.renew(orchard.name, token, timedelta(seconds=30), orchard.now())
            keeper.see_intents_through()
        assert orchestra.asked == []
        assert orchard.store.intents.get(intent).attempt == 1  # type: ignore[union-attr]

    def test_a_project_that_trains_is_not_asked_to_train_and_a_dead_training_holds_it_up_no_longer_than_its_lease(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        orchard.store.leases.acquire(orchard.name, "by hand", timedelta(seconds=150), orchard.now())
        self.rounds(orchard, keeper, 140)
        assert orchestra.asked == []
        self.rounds(orchard, keeper, 21)  # nobody has given the lease back
        assert len(orchestra.runs) == 1

    def test_one_whose_run_died_is_tried_three_times_and_then_abandoned(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        for attempt in (1, 2, 3):
            stale = self.run(orchard, intent, f"run-{attempt}")
            keeper.see_intents_through()
            assert orchard.store.intents.get(intent).state == "running"  # type: ignore[union-attr]
            orchard.ahead += timedelta(seconds=31)  # nobody renews the lease
            keeper.see_intents_through()
            keeper.see_intents_through()
            with pytest.raises(HoldfastError):
                orchard.store.leases.check(orchard.name, stale)
        assert [key.rpartition("-")[0] for key in orchestra.runs] == [f"intent-{intent}-2", f"intent-{intent}-3"]
        ended = orchard.store.intents.get(intent)
        assert ended is not None
        assert (ended.state, ended.outcome, ended.attempt) == ("ended", "abandoned", 3)
        told = [line.reason for line in orchard.store.ledger.decisions(orchard.name)]
        assert "no attempt is left" in told[0]
        assert len(told) == 3
        self.rounds(orchard, keeper, 300)
        assert len(orchestra.runs) == 2

    def test_one_whose_process_ended_is_tried_again_though_its_lease_has_time_left(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        self.run(orchard, intent, "run-1")
        orchestra.states["run-1"] = "Crashed"
        keeper.see_intents_through()
        assert len(orchestra.runs) == 1
        assert orchard.store.leases.current(orchard.name) is None
        assert orchard.store.intents.get(intent).attempt == 2  # type: ignore[union-attr]

    def test_a_dead_run_is_not_replaced_while_another_training_holds_the_lease(
        self, orchard: Orchard, keeper: Keeper, orchestra: Orchestra, intent: int
    ) -> None:
        self.run(orchard, intent, "run-1")
        orchard.ahead = timedelta(seconds=31)
        token = orchard.store.leases.acquire(orchard.name, "by hand", timedelta(seconds=30), orchard.now())
        keeper.see_intents_through()
        assert orchestra.asked == []
        orchard.store.leases.check(orchard.name, token)
        orchard.store.leases.release(orchard.name, token)
        keeper.see_intents_through()
        assert len(orchestra.runs) == 1

    def test_one_that_ends_while_the_keeper_looks_is_not_called_dead(
        self, orchard: Orchard, orchestra: Orchestra, intent: int
    ) -> None:
        token = self.run(orchard, intent, "run-1")

        def ends(run: str) -> str:
            orchard.store.intents.end(intent, "kept", orchard.now(), 1)
            orchard.store.leases.release(orchard.name, token)
            return "Crashed"

        Keeper(orchard, orchestra.emit, orchestra.start_run, ends, orchestra.end).see_intents_through()
        assert orchestra.asked == []
        assert orchard.store.ledger.decisions(orchard.name) == []
        assert orchard.store.intents.get(intent).outcome == "kept"  # type: ignore[union-attr]
