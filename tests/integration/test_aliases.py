from datetime import timedelta

import pytest
from loop_parts import Orchard, Orchestra

from data.errors import ServerUnavailable
from models.judging import Outcome
from models.registry import Registry
from tasks.keeping import Keeper


@pytest.fixture
def keeper(orchard: Orchard) -> Keeper:
    return Orchestra().keeper(orchard)


def ask_for(orchard: Orchard, version: str) -> None:
    """Give a version the alias, as a person does in MLflow."""
    orchard.models.client.set_registered_model_alias(orchard.name, "champion", version)


def first_line(orchard: Orchard, version: str) -> str:
    return orchard.models.version(orchard.name, version).description.splitlines()[0]


def champion(orchard: Orchard) -> str | None:
    return orchard.models.alias(orchard.name, "champion")


def refusals(orchard: Orchard) -> list[str]:
    return [line.reason for line in orchard.store.ledger.decisions(orchard.name, kinds=("refuse",))]


def test_an_alias_that_was_removed_comes_back(orchard: Orchard, keeper: Keeper) -> None:
    version = orchard.promote()
    decided = orchard.store.ledger.decisions(orchard.name)
    orchard.models.client.delete_registered_model_alias(orchard.name, "champion")
    keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == version
    assert orchard.generations == [version]
    assert orchard.store.ledger.decisions(orchard.name) == decided


def test_an_alias_given_to_a_version_that_served_before_is_a_rollback_and_never_undone(
    orchard: Orchard, keeper: Keeper
) -> None:
    first, second = orchard.promote(), orchard.promote()
    ask_for(orchard, first)
    for _ in range(3):
        keeper.reconciler.reconcile(orchard.name)
    assert orchard.generations == [first, second, first]
    assert orchard.serving.actor == "unauthenticated (MLflow UI)"
    assert champion(orchard) == first


def test_an_alias_given_to_a_challenger_that_passed_promotes_it(orchard: Orchard, keeper: Keeper) -> None:
    first, second = orchard.promote(), orchard.register()
    ask_for(orchard, second)
    for _ in range(3):
        keeper.reconciler.reconcile(orchard.name)
    assert orchard.generations == [first, second]
    assert orchard.serving.actor == "unauthenticated (MLflow UI)"
    assert orchard.models.aliases(orchard.name) == {"champion": second, "previous": first}


def test_an_alias_given_to_a_refused_version_is_put_back_once_with_the_way_to_waive(
    orchard: Orchard, keeper: Keeper
) -> None:
    serving, refused = orchard.promote(), orchard.register("refused")
    ask_for(orchard, refused)
    for _ in range(3):
        keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == serving
    assert orchard.generations == [serving]
    said = first_line(orchard, refused)
    assert said.startswith("REFUSED")
    assert f"holdfast promote {orchard.name} {refused} --waive floor:accuracy --waive better" in said
    assert len(refusals(orchard)) == 1
    ask_for(orchard, refused)  # asked again, answered again
    keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == serving
    assert len(refusals(orchard)) == 2


def test_an_alias_given_to_a_version_never_judged_is_put_back_with_what_to_run(
    orchard: Orchard, keeper: Keeper
) -> None:
    serving, version = orchard.promote(), orchard.register(verdict=None)
    ask_for(orchard, version)
    keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == serving
    assert first_line(orchard, version).startswith("REFUSED")
    assert f"run train/{orchard.name}" in first_line(orchard, version)


def test_an_alias_given_to_a_version_that_is_none_of_ours_is_put_back(orchard: Orchard, keeper: Keeper) -> None:
    serving = orchard.promote()
    client = orchard.models.client
    with orchard.models.start_run(orchard.name, name="a notebook", tags={}) as run:
        run.text("model/weights.txt", "none")
    by_hand = client.create_model_version(orchard.name, f"runs:/{run.id}/model", run.id).version
    of_no_run = client.create_model_version(orchard.name, "s3://elsewhere/model").version
    for version in (str(by_hand), str(of_no_run)):
        ask_for(orchard, version)
        keeper.reconciler.reconcile(orchard.name)
        assert champion(orchard) == serving
        assert first_line(orchard, version).startswith("REFUSED")
    assert len(refusals(orchard)) == 2


def test_a_request_is_not_refused_because_a_server_was_away(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ServerUnavailable("MLflow does not answer")

    orchard.promote()
    asked = orchard.register()
    ask_for(orchard, asked)
    with monkeypatch.context() as outage:
        outage.setattr(Registry, "download", away)
        with pytest.raises(ServerUnavailable):
            keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == asked
    assert refusals(orchard) == []
    keeper.reconciler.reconcile(orchard.name)
    assert orchard.serving.version == asked


def test_a_champion_deleted_in_the_registry_goes_on_serving_and_people_hear_of_it_once(
    orchard: Orchard, keeper: Keeper
) -> None:
    gone = orchard.promote()
    keeper.fetch(orchard.name)
    orchard.models.client.delete_model_version(orchard.name, gone)
    for _ in range(3):
        keeper.reconciler.reconcile(orchard.name)
        keeper.fetch(orchard.name)
    assert orchard.generations == [gone]
    assert orchard.pointed["version"] == gone  # type: ignore[index]
    orchard.kept(1)
    found = orchard.store.incidents.open_ones(orchard.name)
    assert [one.kind for one in found] == ["registry"]
    assert f"version {gone}" in found[0].reason
    assert orchard.outbox() == ["log"]
    newer = orchard.promote()
    keeper.fetch(orchard.name)
    keeper.reconciler.reconcile(orchard.name)
    assert champion(orchard) == newer
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_a_promotion_that_died_before_its_aliases_is_finished(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = orchard.promote()
    with monkeypatch.context() as crash:
        crash.setattr("tasks.promotion.mirror", lambda *_: None)
        second = orchard.promote()
    assert champion(orchard) == first
    keeper.reconciler.reconcile(orchard.name)
    assert orchard.models.aliases(orchard.name) == {"champion": second, "previous": first}
    assert orchard.generations == [first, second]


class TestBeforeAnythingServes:
    def judged(self, orchard: Orchard, verdict: Outcome) -> str:
        """A version about which the ledger says what `promotion.settle` makes it say."""
        version, kind = orchard.register(verdict), "ask" if verdict == "passed" else "refuse"
        orchard.store.ledger.decide(
            orchard.name, kind=kind, subject=f"version {version}", reason=verdict, inputs={}, now=orchard.now()
        )
        return version

    def test_an_alias_given_to_a_version_that_waits_makes_it_the_first_champion(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        version = self.judged(orchard, "passed")
        keeper.round()
        assert orchard.generations == []
        ask_for(orchard, version)
        orchard.ahead += timedelta(seconds=10)
        keeper.round()
        assert orchard.generations == [version]
        assert orchard.serving.actor == "unauthenticated (MLflow UI)"

    def test_an_alias_given_to_a_refused_version_is_taken_away_once_with_the_way_to_waive(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        version = self.judged(orchard, "refused")
        ask_for(orchard, version)
        for _ in range(3):
            orchard.ahead += timedelta(seconds=10)
            keeper.round()
        assert (champion(orchard), orchard.generations) == (None, [])
        assert "--waive floor:accuracy" in first_line(orchard, version)
        assert len(refusals(orchard)) == 2  # by the gates, and to the person
