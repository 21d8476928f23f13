"""What is not measured any more is a fault until a person says that this is how it is now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_parts import PLUMS, WINDOW, Orchard, plant, plums, train_once
from store_parts import url

from data.errors import NotAcceptable
from monitoring.records import Verdict
from serving.incident_forms import acts
from serving.viewing import Viewer
from tasks import accepting, rereferencing, watching
from tasks.accepting import accept, ask
from tasks.harvesting import harvestable
from tasks.watching import watch

__all__ = ["url"]

NULLABLE = PLUMS.replace('"sugar": Number(low=-9.0, high=9.0)', '"sugar": Number(low=-9.0, high=9.0, nullable=True)')
PERSON = Viewer("ada", acts=True, logged=True, person=True, token="t", cookie="c", secure=False, fresh=False)


@pytest.fixture(scope="module")
def trained_with_nulls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_once(tmp_path_factory.mktemp("nullable"), NULLABLE)


@pytest.fixture
def clinic(request: pytest.FixtureRequest, trained_with_nulls: Path, tmp_path: Path, url: str) -> Iterator[Orchard]:
    made = plant(trained_with_nulls, "http://127.0.0.1:9", tmp_path / "home", request.node.name, NULLABLE, url)
    made.declare(("minimum_labels=30", 'minimum_labels=30, retrain="off"'))
    made.serve()
    yield made
    made.close()


def live(clinic: Orchard, windows: int, missing: float = 0.0, *, constant: bool = False) -> list[str]:
    """Answer whole windows, all labelled, in which so much sugar is not measured; return what was said of each."""
    for _ in range(windows):
        number = 1 + clinic.store.predictions.count(clinic.name) // WINDOW
        rows = plums(WINDOW, seed=number, constant=constant)
        gone = np.arange(WINDOW) < missing * WINDOW
        ids = clinic.answer({**rows, "sugar": np.where(gone, np.nan, rows["sugar"])}, prefix=f"w{number:03d}-")
        clinic.label(ids, rows)
    watch(clinic, clinic.name)
    return [one.outcome for one in clinic.verdicts()][-windows:]


def test_what_is_not_measured_any_more_is_accepted_compared_with_and_learned_from_then_on(clinic: Orchard) -> None:
    assert live(clinic, 2) == ["ok"] * 2
    assert live(clinic, 3, missing=0.5) == ["fault"] * 3
    [incident] = clinic.store.incidents.open_ones(clinic.name)
    assert incident.kind == "fault"
    assert "or accept that from now on so much is not measured (holdfast accept)" in incident.detail["text"]
    assert "holdfast accept" in incident.detail["so_what"]
    assert f'action="/incidents/{incident.id}/accept"' in acts(incident, PERSON)
    report = accept(clinic, incident.id, "another laboratory, which measures no sugar of half the plums", "ada")
    assert f"holdfast train {clinic.name}" in report.sentence
    assert live(clinic, 10, missing=0.5).count("ok") >= 9
    assert not [one for one in clinic.store.incidents.open_ones(clinic.name) if one.kind == "fault"]
    learned = harvestable(clinic, clinic.declared)
    assert len(learned) == (2 + 10) * WINDOW
    assert len(learned) == clinic.store.labels.count_unharvested(clinic.name)
    assert live(clinic, 1, missing=1.0) == ["fault"]
    assert "nothing is changed" in accept(clinic, incident.id, "again", "bob").sentence


def test_a_window_judged_while_somebody_accepts_is_not_the_same_fault_once_more(
    clinic: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(clinic, 2)
    live(clinic, 3, missing=0.5)
    [incident] = clinic.store.incidents.open_ones(clinic.name)
    given = watching.judge

    def meanwhile(*arguments: Any) -> Verdict:
        said = given(*arguments)
        accept(clinic.another(), incident.id, "another laboratory", "ada")
        return said

    with monkeypatch.context() as slow:
        slow.setattr(watching, "judge", meanwhile)
        assert live(clinic, 1, missing=0.5) == ["ok"]
    assert [one.id for one in clinic.store.incidents.recent(clinic.name, 10)] == [incident.id]


def test_what_is_left_of_a_fault_is_accepted_once_the_dead_sensor_beside_it_is_mended(
    clinic: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(clinic, 2)
    assert live(clinic, 1, missing=0.5, constant=True) == ["fault"]
    assert live(clinic, 3, missing=0.5) == ["fault"] * 3
    [both] = clinic.store.incidents.open_ones(clinic.name)
    assert f'action="/incidents/{both.id}/accept"' in acts(both, PERSON)
    assert live(clinic, 1, missing=0.5, constant=True) == ["fault"]
    with pytest.raises(NotAcceptable, match="what is not measured any more"):
        accept(clinic, both.id, "another laboratory", "ada")
    live(clinic, 1, missing=0.5)
    made = accepting.remake

    def meanwhile(*arguments: Any) -> rereferencing.Remade:
        remade = made(*arguments)
        live(clinic, 1, missing=0.5, constant=True)
        return remade

    with monkeypatch.context() as slow:
        slow.setattr(accepting, "remake", meanwhile)
        with pytest.raises(NotAcceptable, match="what is not measured any more"):
            accept(clinic, both.id, "another laboratory", "ada")
    live(clinic, 1, missing=0.5)
    accept(clinic, both.id, "another laboratory", "ada")
    assert live(clinic, 2, missing=0.5) == ["ok"] * 2
    assert live(clinic, 1, missing=0.5, constant=True) == ["fault"]


def test_a_sensor_that_is_dead_is_never_called_usual_nor_is_one_that_dies_meanwhile(clinic: Orchard) -> None:
    live(clinic, 2)
    assert live(clinic, 1, constant=True) == ["fault"]
    [dead] = clinic.store.incidents.open_ones(clinic.name)
    assert "accept" not in dead.detail["text"]
    assert "/accept" not in acts(dead, PERSON)
    with pytest.raises(NotAcceptable, match="what is not measured any more"):
        ask(clinic, dead.id, "it is harmless", "ada")
    live(clinic, 2)
    live(clinic, 1, missing=0.5)
    assert live(clinic, 1, missing=0.5, constant=True) == ["fault"]
    [both] = clinic.store.incidents.open_ones(clinic.name)
    assert set(both.detail["columns"]) == {"size", "sugar"}
    with pytest.raises(NotAcceptable, match="what is not measured any more"):
        ask(clinic, both.id, "it is harmless", "ada")
