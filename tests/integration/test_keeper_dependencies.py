from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from faults_parts import Mode, Proxy, proxy
from loop_parts import Orchard, Orchestra, plant
from prefect_stack import until

from data.errors import HoldfastError
from flows.keeper import keeper_of
from monitoring.records import Message

WAYS: list[Mode] = ["down", "hanging", "wrong"]


@pytest.fixture
def registry(mlflow_url: str) -> Iterator[Proxy]:
    """The session's MLflow, behind a proxy."""
    with proxy(int(mlflow_url.rpartition(":")[2]), "through") as made:
        yield made


@pytest.fixture
def orchard(registry: Proxy, trained: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Orchard]:
    made = plant(trained, registry.url, tmp_path / "home", request.node.name)
    yield made
    made.store.close()


def tell(orchard: Orchard, id_: str) -> None:
    """Queue an event for the orchestrator."""
    payload = {"event": "holdfast.test", "payload": {"project": orchard.name, "mode": id_}}
    orchard.store.outbox.put([Message(id_, "prefect", "event", payload, orchard.now())])


def waiting(orchard: Orchard, id_: str) -> Message:
    due = orchard.store.outbox.due(orchard.now() + timedelta(days=1))
    return next(message for message in due if message.id == id_)


def test_without_the_registry_the_keeper_does_all_else_and_takes_silence_for_no_request(
    orchard: Orchard, registry: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # as in production, but sooner
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    version, orchestra = orchard.promote(), Orchestra()
    keeper = orchestra.keeper(orchard)
    keeper.round()
    until(lambda: len(orchestra.emitted) == 1, 10.0)  # of the promotion
    before = (orchard.pointed, orchard.generations, orchard.store.ledger.decisions(orchard.name))
    for number, mode in enumerate(WAYS, 2):
        tell(orchard, mode)
        registry.be(mode)
        orchard.ahead = timedelta(seconds=10 * number)
        with pytest.raises(HoldfastError):
            keeper.round()
        until(lambda: len(orchestra.emitted) == number, 10.0)  # noqa: B023
        assert (orchard.pointed, orchard.generations, orchard.store.ledger.decisions(orchard.name)) == before
        assert orchard.store.incidents.open_ones(orchard.name) == []
    registry.be("through")
    orchard.ahead = timedelta(seconds=60)
    keeper.round()
    assert orchard.models.alias(orchard.name, "champion") == version


def test_without_the_orchestrator_what_is_promoted_comes_to_disk_and_its_events_wait(orchard: Orchard) -> None:
    with proxy() as prefect:
        settings = orchard.settings.model_copy(update={"prefect_api_url": f"{prefect.url}/api"})
        version = orchard.promote()
        for mode in WAYS:
            prefect.be(mode)
            tell(orchard, mode)
            keeper = keeper_of(settings)
            keeper.round()
            assert orchard.pointed is not None
            assert orchard.pointed["version"] == version
            until(lambda: waiting(orchard, mode).attempts == 1, 20.0)  # noqa: B023
            orchard.store.outbox.delivered(mode, orchard.now())
            keeper.resources.store.close()
