import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loop_parts import Orchard, artifacts, damage, judgement
from typer.testing import CliRunner

from data.errors import NoChampion, NoSuchVersion, ServerUnavailable
from data.versions import DataRegistry
from holdfast.cli import app
from models.cards import markdown
from monitoring.records import Decision
from tasks import fitting, promotion, provenance, registration
from tasks.cleanroom import CleanRoom
from tasks.evaluation import evaluate
from tasks.leases import leased
from tasks.verifying import NotOnRecord, verify


@pytest.fixture
def grove(orchard: Orchard, tmp_path: Path) -> Orchard:
    """An orchard whose training is its own, so that a test may change it before it is registered."""
    orchard.trained = Path(shutil.copytree(orchard.trained, tmp_path / "run"))
    return orchard


def register(grove: Orchard) -> str:
    with leased(grove, grove.name, holder="a test") as run:
        return registration.register(grove, grove.declared, grove.trained, holder="a test", token=run.token)


def own_batches(grove: Orchard, tmp_path: Path) -> DataRegistry:
    """Give a test batches that it may spoil."""
    shared = grove.shared
    assert shared is not None
    for name in ("registry", "remote"):
        shutil.copytree(shared.root.parent / name, tmp_path / name)
    grove.__dict__["batches"] = DataRegistry(tmp_path / "registry", str(tmp_path / "remote"))
    return grove.batches


def told(grove: Orchard, version: str) -> Decision:
    return grove.store.ledger.decisions(grove.name, subject=f"version {version}", kinds=("verify",))[0]


def left(grove: Orchard) -> list[Path]:
    return list((grove.settings.home / "verify").rglob("*"))


def test_a_version_is_made_again_bit_for_bit_by_its_own_sources(grove: Orchard) -> None:
    version = register(grove)
    grove.project_file(grove.name).write_text("raise RuntimeError('edited since')")  # today's file has no say
    seen: list[str] = []
    found = verify(grove, grove.name, version, progress=lambda _, what: seen.append(what), actor="ada")
    assert found.outcome == "identical", found.sentence
    told_of = [what.partition(":")[0] for what in seen]
    assert told_of[0] == "320 rows in 1 batches are restored"
    assert told_of[-4:] == ["320 rows are dealt out", "epoch 1 of 2", "epoch 2 of 2", "exported"]
    assert left(grove) == []
    line = told(grove, version)
    assert line.reason == found.sentence
    assert (line.inputs["outcome"], line.inputs["asked_by"]) == ("identical", "ada")
    assert line in grove.store.ledger.why(f"version {version}", grove.name)
    assert grove.models.version(grove.name, version).tags["verified"].endswith(" identical")


def test_another_instruction_set_and_other_threads_are_named_and_what_they_change_is_measured(
    grove: Orchard, tmp_path: Path
) -> None:
    grove.declare(("epochs=2", "epochs=4"))
    code = provenance.packed({name: path.read_bytes() for name, path in sources(grove).items()})
    tuning = {"tuning": "ATEN_CPU_CAPABILITY=default", "threads": "1"}
    elsewhere = CleanRoom(tmp_path / "elsewhere", grove.name, tuning)
    snapshot = registration.Snapshot.from_json((grove.trained / "snapshot.json").read_text())
    elsewhere.furnish(snapshot, grove.batches, code)
    elsewhere.run(("prepare", "train"), lambda _share, _what: None)
    grove.trained = elsewhere.artifacts
    evaluate(grove.declared, grove.trained)
    change(grove.trained / "history.json", without_tuning)
    version = register(grove)
    found = verify(grove, grove.name, version, threads=2)
    assert found.outcome == "equivalent", found.sentence
    assert found.differs["threads"] == ["1", "2"]
    assert found.differs["instructions"][0] == "DEFAULT"
    assert found.differs.keys() == {"threads", "instructions"}
    assert "CPU instruction set (DEFAULT on record" in found.sentence
    assert 0 < found.weights["largest"] < 1
    assert 0 < found.weights["relative"] < 1
    was, now = found.metrics["accuracy"]
    assert abs(was - now) < 0.1
    assert told(grove, version).inputs["weights"] == found.weights


def without_tuning(history: dict) -> None:
    kept = history["machine"]["tuning"].split()
    kept.remove("ATEN_CPU_CAPABILITY=default")  # as another machine has it
    history["machine"]["tuning"] = " ".join(kept)


def sources(grove: Orchard) -> dict[str, Path]:
    return provenance.sources(grove.project_file(grove.name))


def change(path: Path, edit: Callable[[dict], object]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_version_that_its_sources_do_not_make_is_told_from_one_that_they_do_by_its_first_tensor(
    grove: Orchard,
) -> None:
    grove.declare(("epochs=2", "seed=5, epochs=2"))
    change(grove.trained / "history.json", lambda history: history["parameters"].update({"training.seed": "5"}))
    version = register(grove)  # an archive with another seed than the one that trained, honestly on record
    found = verify(grove, grove.name, version)
    assert found.outcome == "different"
    assert "on the same kind of machine, and differs: tensor " in found.sentence
    assert "of its weights differ, by up to" in found.sentence
    assert left(grove) == []


def never(*_: object) -> None:
    pytest.fail("nothing may be run")


def test_a_version_with_a_changed_file_in_the_registry_is_different_and_nothing_of_it_is_run(
    grove: Orchard, mlflow_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(grove)
    monkeypatch.setattr(CleanRoom, "run", never)
    for name in ("code.tar", "card.json", "snapshot.json", "model/weights.safetensors", "model/manifest.json"):
        path = artifacts(mlflow_folder, grove, version) / name
        content = path.read_bytes()
        path.write_bytes(content.replace(b"320", b"321", 1) if b"320" in content else content[:-9] + b"\x01" * 9)
        assert path.read_bytes() != content
        changed = verify(grove, grove.name, version)
        path.unlink()
        gone = verify(grove, grove.name, version, quick=True)
        path.write_bytes(content)
        for found in (changed, gone):
            assert found.outcome == "different"
            assert Path(name).name.partition(".")[0] in found.sentence
    assert verify(grove, grove.name, version, quick=True).outcome == "intact"


def test_a_batch_that_can_not_be_restored_byte_for_byte_is_named(grove: Orchard, tmp_path: Path) -> None:
    version, batches = register(grove), own_batches(grove, tmp_path)
    [file] = batches.snapshot("plums").files
    cached = batches.root / ".dvc" / "cache" / "files" / "md5" / file.md5[:2] / file.md5[2:]
    cached.unlink()  # the remote still has it
    assert verify(grove, grove.name, version, quick=True).outcome == "intact"
    kept = Path(batches.remote) / "files" / "md5" / file.md5[:2] / file.md5[2:]
    for copy in (cached, kept):
        copy.chmod(0o644)
        copy.write_bytes(copy.read_bytes()[:-1] + b"\x00")
    found = verify(grove, grove.name, version, quick=True)
    assert found.outcome == "different"
    assert file.name in found.sentence


def test_erased_rows_are_said_to_be_erased_with_their_batch_and_the_reason(grove: Orchard, tmp_path: Path) -> None:
    version, batches = register(grove), own_batches(grove, tmp_path)
    [file] = batches.snapshot("plums").files
    batches.mark_erased("plums", [file], reason="request 17", at=grove.now())
    found = verify(grove, grove.name, version)
    assert found.outcome == "erased"
    assert f"{file.name.removesuffix('.parquet')} ({grove.now():%Y-%m-%d}: request 17)" in found.sentence


def test_the_champion_is_verified_unless_a_number_or_an_alias_says_otherwise(grove: Orchard) -> None:
    with pytest.raises(NoChampion):
        verify(grove, grove.name)
    first = register(grove)
    serve(grove, first)
    second = register(grove)
    grove.models.set_alias(grove.name, "champion", second)  # the ledger knows better
    assert verify(grove, grove.name, quick=True).version == first
    assert verify(grove, grove.name, "candidate", quick=True).version == second
    with pytest.raises(NoSuchVersion, match="alias 'nobody'"):
        verify(grove, grove.name, "nobody", quick=True)
    with pytest.raises(NoSuchVersion):
        verify(grove, grove.name, "99", quick=True)


def serve(grove: Orchard, version: str) -> None:
    manifest = hashlib.sha256((grove.trained / "model" / "manifest.json").read_bytes()).hexdigest()
    registration.tell_verdict(grove, grove.declared, version, judgement("passed"), manifest=manifest, champion=None)
    promotion.promote(grove, grove.name, version, actor="test", reason="it is a test")


def test_sources_that_only_the_registry_vouches_for_are_never_run(grove: Orchard) -> None:
    version = grove.register(ours=False)  # as somebody would who writes to MLflow alone
    with pytest.raises(NotOnRecord, match="train it again"):
        verify(grove, grove.name, version)


def test_a_registry_that_is_away_is_said_to_be(grove: Orchard) -> None:
    version = register(grove)
    away = grove.another()
    away.settings = away.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServerUnavailable, match="does not answer"):
        verify(away, grove.name, version)


def test_the_command_ends_with_0_1_or_2(
    grove: Orchard, mlflow_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(grove)
    for name, value in os.environ.items():
        monkeypatch.setenv(name, value)
    home = grove.settings.home
    shutil.copytree(own_batches(grove, tmp_path).root, home / "registry")
    shutil.copytree(tmp_path / "remote", home / "remote")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", grove.settings.mlflow_url)
    words = ["verify", f"{grove.name}@{version}", "--quick", "--home", str(home)]
    good = CliRunner().invoke(app, words)
    assert (good.exit_code, good.stdout.partition(":")[0]) == (0, "intact")
    said = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (said["outcome"], said["version"]) == ("intact", version)
    assert [check["checked"] for check in said["checks"]] == ["data", "sources", "files", "card"]
    damage(mlflow_folder, grove, version)
    spoiled = CliRunner().invoke(app, words)
    assert (spoiled.exit_code, spoiled.stdout.partition(":")[0]) == (1, "different")
    unknown = CliRunner().invoke(app, ["verify", f"{grove.name}@99", "--home", str(home)])
    assert unknown.exit_code == 2
    assert unknown.stderr.startswith("error: ")


RETRAIN = """
import os, random, signal, sys
from pathlib import Path
import shutil
from models.folder import file_sha256
from projects import discovery
from tasks import fitting

home, prepared, name, rounds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
project = discovery.load(name, [home / "projects"])

def learn(folder):
    # one training in a process of its own; yields the epochs as it tells them
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        tell = lambda _share, what: os.write(writer, f"{what}\\n".encode())
        fitting.fit(project, folder, device="cpu", progress=tell)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        yield child
        yield from lines
    yield os.waitpid(child, 0)[1]

for number in range(rounds + 1):
    folder, chance, kills = home / f"round-{number}", random.Random(number), 0
    shutil.copytree(prepared, folder / "prepared")
    status, first = None, ""
    while status != 0:
        going = learn(folder)
        child, seen = next(going), 0
        last_epoch = chance.randint(1, 10) if number and kills < 2 else 10**9
        for said in going:
            if isinstance(said, int):
                status = said
                break
            first = said if not seen else first
            seen += 1
            if seen == last_epoch:
                os.kill(child, signal.SIGKILL)
        kills += status == signal.SIGKILL
    print(file_sha256(folder / "model" / "manifest.json"), kills, first.split(":")[0], flush=True)
"""


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_a_training_killed_and_resumed_again_and_again_gives_the_same_bytes(
    grove: Orchard, tmp_path: Path, rounds: int
) -> None:
    grove.declare(("epochs=2", "epochs=25, patience=25"))
    words = [grove.settings.home, grove.trained / "prepared", grove.name, rounds]
    done = subprocess.run(
        [sys.executable, "-c", RETRAIN, *map(str, words)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert len(lines) == rounds + 1
    assert len({manifest for manifest, _, _ in lines}) == 1
    assert [int(kills) for _, kills, _ in lines] == [0, *[2] * rounds]
    assert lines[0][2] == "epoch 1 of 25"
    assert all(first != "epoch 1 of 25" for _, _, first in lines[1:])  # they went on where they were killed


@pytest.mark.soak  # its always-run twin stands in test_torch_worker.py
def test_a_version_that_a_torch_worker_answers_is_made_again_bit_for_bit_too(grove: Orchard) -> None:
    grove.declare(
        ("project = Project(", WAVES + "\n\nproject = Project("),
        ('Model(network="mlp", options={"hidden": (8,)})', "Model(network=waves)"),
    )
    fitting.fit(grove.declared, grove.trained, device="cpu", progress=lambda _share, _what: None)
    assert not (grove.trained / "model" / "network.onnx").exists()
    evaluate(grove.declared, grove.trained)
    version = register(grove)
    found = verify(grove, grove.name, version)
    assert found.outcome == "identical", found.sentence
    card = grove.models.read_artifact(grove.models.run_of(grove.name, version), "card.json")
    assert "Served by a torch worker, " in markdown(json.loads(card))


WAVES = """
def waves(spec):
    import torch
    from torch import nn

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(spec.numbers, spec.outputs)

        def forward(self, numbers):
            return self.head(torch.special.bessel_j0(numbers))  # which ONNX does not know

    return Waves()
"""
