import shutil
import time
from datetime import timedelta

import pytest
from loop_parts import Orchard, judgement
from store_parts import race

from data.errors import Busy, HoldfastError, NotPromotable, ServerUnavailable, StaleToken
from monitoring.store.leases import Leases
from tasks import aliases, comparison, ingestion, promotion, retraining
from tasks.leases import AlreadyDone, Run, leased

LATER = timedelta(minutes=5)


def intent_of(orchard: Orchard) -> int:
    intent, _ = orchard.store.intents.open(orchard.name, None, orchard.now())
    return intent.id


def taken_over(orchard: Orchard) -> int:
    """Let the lease run out, and another training take it."""
    another = orchard.another()
    another.ahead = LATER
    return another.store.leases.acquire(orchard.name, "another run", orchard.settings.lease_ttl, another.now())


def with_outputs(orchard: Orchard, run: Run) -> None:
    shutil.copytree(orchard.trained, run.folder)


def test_a_second_training_is_refused_with_the_reason(orchard: Orchard) -> None:
    with leased(orchard, orchard.name, holder="run-1"):
        with (
            pytest.raises(Busy, match=f"{orchard.name} is already training: run-1 holds the lease until"),
            leased(orchard.another(), orchard.name, holder="run-2"),
        ):
            raise AssertionError("two trainings at once")
        assert orchard.store.leases.current(orchard.name).holder == "run-1"  # type: ignore[union-attr]
    assert orchard.store.leases.current(orchard.name) is None


def test_of_runs_of_one_intent_one_goes_on_and_the_others_learn_that_it_is_done(orchard: Orchard) -> None:
    intent = intent_of(orchard)

    def train(number: int) -> int:
        with leased(orchard.another(), orchard.name, holder=f"run-{number}", intent=intent) as run:
            time.sleep(0.5)
            run.outcome = "kept"
        return number

    got = race(6, train)
    winners = [one for one in got if not isinstance(one, HoldfastError)]
    assert len(winners) == 1
    assert {type(one) for one in got} <= {int, AlreadyDone, Busy}
    found = orchard.store.intents.get(intent)
    assert found is not None
    assert (found.state, found.outcome, found.run) == ("ended", "kept", f"run-{winners[0]}")
    with pytest.raises(AlreadyDone, match="settled: kept"), leased(orchard, orchard.name, holder="late", intent=intent):
        raise AssertionError("an intent that has ended was done again")
    assert orchard.store.leases.current(orchard.name) is None


def test_an_intent_that_runs_already_is_no_reason_to_call_the_project_busy(orchard: Orchard) -> None:
    intent = intent_of(orchard)
    with (
        leased(orchard, orchard.name, holder="run-1", intent=intent),
        pytest.raises(AlreadyDone, match="already being done by run run-1"),
        leased(orchard.another(), orchard.name, holder="run-2", intent=intent),
    ):
        raise AssertionError("an intent was done twice")


def test_a_failure_leaves_the_intent_open_and_the_lease_free(orchard: Orchard) -> None:
    def break_down(run: Run) -> None:
        run.folder.mkdir(parents=True)
        raise ZeroDivisionError

    intent = intent_of(orchard)
    with pytest.raises(ZeroDivisionError), leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        break_down(run)
    assert [one.id for one in orchard.store.intents.open_ones()] == [intent]
    assert orchard.store.leases.current(orchard.name) is None
    assert not run.folder.exists()


def test_a_run_that_lost_its_lease_can_not_publish_register_judge_or_promote(orchard: Orchard) -> None:
    intent = intent_of(orchard)
    with leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        with_outputs(orchard, run)
        version = orchard.register()
        newer = taken_over(orchard)
        run.version, run.judgement, run.outcome = version, judgement("passed"), "promoted"
        for step in (retraining.publish, retraining.register, retraining.judge, retraining.settle):
            with pytest.raises(StaleToken, match="no longer valid: another run has"):
                step(orchard, run)
        with pytest.raises(StaleToken):  # nor where the lease goes between the guard and the ledger
            promotion.settle(orchard, orchard.declared, version, judgement("passed"), intent=intent, token=run.token)
    assert not (orchard.artifacts(orchard.name) / "model").exists()
    assert [one.number for one in orchard.models.versions(orchard.name)] == [version]
    told = [line.kind for line in orchard.store.ledger.decisions(orchard.name)]
    assert told == ["judge", "register"]  # from before
    assert orchard.generations == []
    assert orchard.models.alias(orchard.name, "champion") is None
    assert orchard.store.leases.current(orchard.name).token == newer  # type: ignore[union-attr]
    assert orchard.store.intents.get(intent).state == "running"  # type: ignore[union-attr]


def test_without_its_fence_a_stale_run_would_promote(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    with leased(orchard, orchard.name, holder="run-1") as run:
        version = orchard.register()
        taken_over(orchard)
        with pytest.raises(StaleToken):
            settle(orchard, run, version)
        assert orchard.generations == []
        monkeypatch.setattr(retraining, "guard", lambda *_: None)  # what the test above would see
        monkeypatch.setattr("monitoring.store.ledger.check_token", lambda *_: None)
        settle(orchard, run, version)
    assert orchard.generations == [version]


def test_a_verdict_reached_after_the_lease_was_lost_is_not_told(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = comparison.judge_version

    def slowly(*arguments: object) -> object:
        found = judged(*arguments)  # type: ignore[arg-type]
        taken_over(orchard)
        return found

    monkeypatch.setattr(comparison, "judge_version", slowly)
    with leased(orchard, orchard.name, holder="run-1") as run:
        with_outputs(orchard, run)
        run.version = orchard.register(verdict=None)
        with pytest.raises(StaleToken):
            retraining.judge(orchard, run)
    assert run.judgement is None
    assert "REFUSED" not in orchard.models.version(orchard.name, run.version).description
    with pytest.raises(NotPromotable, match="never judged"):
        promotion.promote(orchard, orchard.name, run.version, actor="somebody", reason="")


def test_a_fit_stops_at_the_epoch_after_the_lease_was_lost(orchard: Orchard) -> None:
    seen: list[str] = []
    with leased(orchard, orchard.name, holder="run-1") as run:
        with_outputs(orchard, run)
        taken_over(orchard)
        run.lost.set()
        with pytest.raises(StaleToken):
            retraining.fit(orchard, run, "cpu", lambda _share, what: seen.append(what))
    assert seen == []


def test_a_lease_is_renewed_while_its_run_works_even_if_the_store_was_away_for_a_moment(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.settings = orchard.settings.model_copy(update={"lease_seconds": 3.0})
    renewed, away = Leases.renew, [True]

    def shaky(*arguments: object) -> object:
        if away:
            away.clear()
            raise ServerUnavailable("the store does not answer: database is locked")
        return renewed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Leases, "renew", shaky)
    with leased(orchard, orchard.name, holder="run-1") as run:
        time.sleep(4.5)  # a busy machine may hold a renewal up for a second or two
        with pytest.raises(Busy), leased(orchard.another(), orchard.name, holder="run-2"):
            raise AssertionError("a living training lost its lease")
        assert not run.lost.is_set()
        orchard.store.leases.check(orchard.name, run.token)
    assert orchard.store.leases.current(orchard.name) is None


def test_a_whole_training_ends_in_a_generation_and_ends_its_intent(orchard: Orchard) -> None:
    ingestion.ingest(orchard, orchard.name)
    intent, told = intent_of(orchard), []
    with leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        retraining.collect(orchard, run)
        retraining.prepare(orchard, run)
        retraining.fit(orchard, run, "cpu", lambda _share, what: told.append(what))
        assert "judge rows" in retraining.evaluate(orchard, run).sentence
        retraining.register(orchard, run)
        assert retraining.judge(orchard, run).sentence.startswith("PASSED")
        assert "serves as generation 1" in retraining.settle(orchard, run).sentence
    assert told[-1] == "exported"
    ended = orchard.store.intents.get(intent)
    assert ended is not None
    assert (ended.state, ended.outcome) == ("ended", "promoted")
    assert orchard.generations == [run.version]
    assert orchard.models.aliases(orchard.name) == {"champion": run.version}
    assert not orchard.workspace.changed(f"evaluate@{orchard.name}")


def test_a_promotion_keeps_its_promise_though_the_registry_goes_away(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ServerUnavailable("MLflow does not answer")

    intent = intent_of(orchard)
    with leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        run.version, run.judgement = orchard.register(), judgement("passed")
        monkeypatch.setattr(orchard.models, "set_alias", away)
        assert "serves as generation 1" in retraining.settle(orchard, run).sentence
    assert orchard.store.intents.get(intent).outcome == "promoted"  # type: ignore[union-attr]
    monkeypatch.undo()
    aliases.mirror(orchard, orchard.name)
    assert orchard.models.alias(orchard.name, "champion") == run.version


def test_a_promotion_that_dies_once_it_is_written_is_not_done_again(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "mirror", interrupted)
    intent, version = intent_of(orchard), orchard.register()
    with pytest.raises(KeyboardInterrupt), leased(orchard, orchard.name, holder="run-1", intent=intent) as run:
        settle(orchard, run, version)
    assert orchard.generations == [version]
    assert orchard.store.intents.open_ones() == []
    with pytest.raises(AlreadyDone, match="promoted"), leased(orchard, orchard.name, holder="run-2", intent=intent):
        raise AssertionError("an intent that has ended was done again")


def settle(orchard: Orchard, run: Run, version: str) -> None:
    run.version, run.judgement = version, judgement("passed")
    retraining.settle(orchard, run)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt
