import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from loop_parts import Orchard, artifacts

from data.errors import Corrupt
from data.versions import Snapshot
from models.folder import WEIGHTS, file_sha256
from monitoring.effects import NewIncident
from monitoring.records import Generation, Verdict, WindowKey
from tasks import evaluation, fitting, history, plans, preparation, registration, role_files, tournament
from tasks.ingestion import write_snapshot
from tasks.leases import leased
from tasks.verifying import verify

WARM = ("Training(epochs=2", 'Training(start="champion", epochs=2')


@pytest.fixture
def champion(orchard: Orchard, tmp_path: Path) -> str:
    """A champion whose making is on record, and a project that starts from it."""
    orchard.trained = Path(shutil.copytree(orchard.trained, tmp_path / "first"))
    with leased(orchard, orchard.name, holder="a test") as run:
        version = registration.register(orchard, orchard.declared, orchard.trained, holder="a test", token=run.token)
    facts = registration.origin(orchard, orchard.name, version)
    assert facts is not None
    new = orchard.store.ledger.append_generation(0, generation(orchard, version, facts.inputs["facts"]["manifest"]))
    assert new.number == 1
    orchard.declare(WARM)
    return version


def generation(orchard: Orchard, version: str, manifest: str) -> Generation:
    run = orchard.models.run_of(orchard.name, version)
    return Generation(orchard.name, 1, version, run, manifest, orchard.now(), "test", "a test", [])


def begin(orchard: Orchard, folder: Path) -> None:
    """Give a run the session's snapshot."""
    write_snapshot(folder / "snapshot.json", Snapshot.from_json((orchard.trained / "snapshot.json").read_text()))


def trained(orchard: Orchard, folder: Path) -> dict[str, Any]:
    """Take a training's steps up to its evaluation; return what it says of itself."""
    begin(orchard, folder)
    plans.lay(orchard, orchard.declared, folder, None)
    preparation.prepare(orchard.declared, orchard.batches, folder)
    fitting.fit(orchard.declared, folder, device="cpu", progress=lambda _share, _what: None)
    evaluation.evaluate(orchard.declared, folder)
    return dict(json.loads((folder / "history.json").read_text()))


def register(orchard: Orchard, folder: Path) -> str:
    with leased(orchard, orchard.name, holder="a test") as run:
        return registration.register(orchard, orchard.declared, folder, holder="a test", token=run.token)


def test_a_warm_start_is_made_again_bit_for_bit_and_names_its_parent(
    orchard: Orchard, champion: str, tmp_path: Path, mlflow_folder: Path
) -> None:
    cold = (orchard.trained / "model" / WEIGHTS).read_bytes()
    told = trained(orchard, tmp_path / "run")
    assert told["start"] == {"from": f"version {champion}", "why": ""}
    assert (tmp_path / "run" / "model" / WEIGHTS).read_bytes() != cold
    version = register(orchard, tmp_path / "run")
    facts = registration.origin(orchard, orchard.name, version)
    assert facts is not None
    known = file_sha256(orchard.trained / "model" / WEIGHTS)
    assert facts.inputs["facts"]["start"] == f"version {champion}, weights {known}"
    found = verify(orchard, orchard.name, version)
    assert found.outcome == "identical", found.sentence
    assert {"checked": "start", "found": f"from version {champion}, weights {known}"} in found.checks
    shutil.rmtree(artifacts(mlflow_folder, orchard, champion) / "model")
    gone = verify(orchard, orchard.name, version, quick=True)
    assert gone.outcome == "different"
    assert f"can't be made again: it started from version {champion}" in gone.sentence


def test_a_changed_schema_or_network_starts_from_scratch_and_says_so(
    orchard: Orchard, champion: str, tmp_path: Path
) -> None:
    orchard.declare(('"hidden": (8,)', '"hidden": (9,)'))
    told = trained(orchard, tmp_path / "network")
    assert told["start"]["from"] == "scratch"
    assert "the network is another than the champion's" in told["start"]["why"]
    orchard.declare(('sugar": Number(low=-9.0', 'sugar": Number(low=-8.0'))
    told = trained(orchard, tmp_path / "schema")
    assert told["start"] == {"from": "scratch", "why": f"the schema is not that of version {champion}"}
    assert (tmp_path / "schema" / "plan.json").exists()


def test_weights_that_are_not_those_on_record_are_not_started_from(
    orchard: Orchard, champion: str, tmp_path: Path
) -> None:
    trained(orchard, tmp_path / "run")
    weights = tmp_path / "run" / ".parent" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(Corrupt, match=f"version {champion}"):
        preparation.prepare(orchard.declared, orchard.batches, tmp_path / "run")
    plans.lay(orchard, orchard.declared, tmp_path / "run", None)  # fetched again
    preparation.prepare(orchard.declared, orchard.batches, tmp_path / "run")


def test_rows_count_from_the_first_window_of_the_drift_that_is_answered(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    start = orchard.now() - timedelta(hours=9)
    for index in range(4):
        window = WindowKey(orchard.name, 1, index, start + timedelta(hours=index), start + timedelta(hours=index + 1))
        said = Verdict(window, "data", "drift" if index > 1 else "ok", 40, "a test")
        orchard.store.verdicts.record(said, orchard.now())
    assert plans.drifted_since(orchard, orchard.name, None) is None
    new = NewIncident(orchard.name, "drift", 1, "a test", {"windows": [2, 3]})
    incident, _ = orchard.store.incidents.open(new, orchard.now())
    intent, _ = orchard.store.intents.open(orchard.name, incident.id, orchard.now())
    assert plans.drifted_since(orchard, orchard.name, intent.id) == start + timedelta(hours=2)
    assert plans.drifted_since(orchard, orchard.name, None) == start + timedelta(hours=2)


OTHERS = '{"rows": "sliding", "newest": 150}, {"learning_rate": 1e30, "optimizer": "sgd"}'
CONTEST = 'Training(tournament=({"start": "champion"}, ' + OTHERS + "), epochs=2"


def test_a_tournament_is_decided_on_training_rows_goes_on_after_a_kill_and_is_on_record(
    orchard: Orchard, champion: str, tmp_path: Path
) -> None:
    orchard.declare((WARM[1], CONTEST))
    folder, seen = tmp_path / "run" / orchard.name, []
    begin(orchard, folder)

    def hold(limit: int = 99) -> Any:
        def tell(_share: float, what: str) -> None:
            seen.append(what)
            if len(seen) == limit:
                raise KeyboardInterrupt

        return tournament.hold(orchard, orchard.declared, folder, None, device="cpu", progress=tell)

    with pytest.raises(KeyboardInterrupt):
        hold(limit=5)  # in the third contestant
    done = len([what for what in seen if what.startswith("contestant 1")])
    report = hold()
    assert len([what for what in seen if what.startswith("contestant 1")]) == done
    table = report.table
    assert [one["contestant"] for one in table] == [
        "as declared",
        "start=champion",
        "rows=sliding, newest=150",
        "learning_rate=1e+30, optimizer=sgd",
    ]
    assert f"that version {champion} did not learn from" in table[1]["why"]
    assert "the loss is no number" in table[3]["why"]
    won = max((table[0], table[2]), key=lambda one: one["value"])
    assert [one["won"] for one in table] == [one is won for one in table]
    assert hold().table == table
    trained(orchard, folder)
    for contestant in (tmp_path / "run").glob("contestant-*"):
        for role in ("train", "judge"):
            met = role_files.read_role(contestant, orchard.declared.schema, role)["plum"]
            known = role_files.read_role(folder, orchard.declared.schema, "judge")["plum"]
            assert not set(met) & set(known)
    version = register(orchard, folder)
    assert history.card(orchard, orchard.name, version)["training"]["tournament"] == table
    found = verify(orchard, orchard.name, version)
    assert found.outcome == "identical", found.sentence


def test_with_too_few_rows_to_select_by_the_declared_settings_train(
    orchard: Orchard, champion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.declare((WARM[1], CONTEST))
    monkeypatch.setattr(tournament, "SHARE", 0.02)
    write_snapshot(
        tmp_path / "run" / "snapshot.json", Snapshot.from_json((orchard.trained / "snapshot.json").read_text())
    )
    report = tournament.hold(
        orchard, orchard.declared, tmp_path / "run", None, device="cpu", progress=lambda _share, _what: None
    )
    assert report.sentence.startswith("no tournament: ")
    assert plans.read(tmp_path / "run") == plans.Plan()
