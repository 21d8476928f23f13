import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadSetting, Corrupt, NoBatch, NotReplicated
from data.versions import DataRegistry, Snapshot, SnapshotFile, Workspace
from data.versions.git import git
from data.versions.snapshot import folder_hash


@pytest.fixture
def registry(tmp_path: Path) -> DataRegistry:
    return DataRegistry(tmp_path / "home" / "registry", str(tmp_path / "remote"))


def content(name: str) -> bytes:
    return f"{name} ".encode() * 50


def writer(name: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content(name)) and None


def land(registry: DataRegistry, *names: str) -> Snapshot:
    for name in names:
        landed = registry.land("digits", name, writer(name), rows=50)
    return landed.snapshot


def remote_object(registry: DataRegistry, oid: str) -> Path:
    return Path(registry.remote) / "files" / "md5" / oid[:2] / oid[2:]


def cached_object(registry: DataRegistry, oid: str) -> Path:
    return registry.root / ".dvc" / "cache" / "files" / "md5" / oid[:2] / oid[2:]


def overwrite(path: Path, with_bytes: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(with_bytes)
    path.chmod(0o444)


def test_each_batch_is_one_commit_and_the_same_batch_again_is_none(registry: DataRegistry) -> None:
    with pytest.raises(NoBatch):
        registry.snapshot("digits")
    first = land(registry, "monday", "tuesday")
    again = registry.land("digits", "monday", writer("monday"), rows=50)
    assert not again.changed
    assert again.snapshot == first == registry.snapshot("digits")
    assert [change.note for change in registry.history("digits")] == [
        "digits: tuesday, 50 rows",
        "digits: monday, 50 rows",
    ]
    assert first.rows == 100
    assert Snapshot.from_json(first.to_json()) == first
    assert git(registry.root, "status", "--porcelain") == ""


def test_a_snapshot_is_restored_byte_for_byte_at_any_revision(registry: DataRegistry, tmp_path: Path) -> None:
    early = land(registry, "monday")
    registry.land("digits", "monday", writer("mended"), rows=50, note="repaired")
    registry.land("digits", "monday", writer("bad"), rows=1, kind="quarantine")
    assert registry.restore(early, tmp_path / "early")[0].read_bytes() == content("monday")
    assert registry.restore(registry.snapshot("digits"), tmp_path / "now")[0].read_bytes() == content("mended")
    assert registry.at("digits", early.revision) == early
    assert registry.snapshot("digits", "quarantine").rows == 1


def test_any_order_and_redelivery_give_the_same_hash(tmp_path: Path) -> None:
    hashes = set()
    for number, order in enumerate(list(permutations("abc"))[::2]):
        registry = DataRegistry(tmp_path / str(number), str(tmp_path / f"remote{number}"))
        hashes.add(land(registry, *order, order[0]).hash)
    assert len(hashes) == 1


@settings(max_examples=100)
@given(st.permutations([SnapshotFile(f"{name}.parquet", name * 32, 1, "") for name in "a1bz09"]))
def test_a_folder_hash_does_not_know_the_order(files: list[SnapshotFile]) -> None:
    assert folder_hash(files) == folder_hash(sorted(files, key=lambda file: file.name))


def test_a_remote_that_lost_objects_is_healed_and_one_that_cannot_be_is_refused(registry: DataRegistry) -> None:
    before = land(registry, "monday", "tuesday")
    lost = remote_object(registry, before.files[0].md5)
    lost.unlink()
    overwrite(remote_object(registry, before.hash), b"")
    land(registry, "wednesday", "tuesday")
    assert lost.read_bytes() == content("monday")

    lost.unlink()
    cached_object(registry, before.files[0].md5).unlink()
    now = registry.snapshot("digits")
    with pytest.raises(NotReplicated):
        land(registry, "thursday")
    assert registry.snapshot("digits") == now
    assert not (registry.root / "digits" / "batches" / "thursday.parquet").exists()


def test_a_remote_that_answers_nothing_accepts_nothing(registry: DataRegistry, tmp_path: Path) -> None:
    (tmp_path / "remote").write_text("a file where the folder should be")
    with pytest.raises(NotReplicated, match="remote"):
        land(registry, "monday")
    with pytest.raises(NoBatch):
        registry.snapshot("digits")
    (tmp_path / "remote").unlink()
    assert land(registry, "monday").rows == 50


def test_a_corrupt_cache_is_healed_from_the_remote(registry: DataRegistry, tmp_path: Path) -> None:
    snapshot = land(registry, "monday", "tuesday")
    overwrite(cached_object(registry, snapshot.files[0].md5), b"x" * len(content("monday")))
    cached_object(registry, snapshot.files[1].md5).unlink()
    overwrite(cached_object(registry, snapshot.hash), b"[]")
    restored = registry.restore(snapshot, tmp_path / "out")
    assert [path.read_bytes() for path in restored] == [content("monday"), content("tuesday")]
    assert len(land(registry, "wednesday").files) == 3


def test_no_flipped_bit_is_ever_restored(registry: DataRegistry, tmp_path: Path) -> None:
    snapshot = land(registry, "monday")
    good, oid = content("monday"), snapshot.files[0].md5
    damaged = [good[:-1], b"", good + b"x"]
    damaged += [
        good[: at // 8] + bytes([good[at // 8] ^ 1 << at % 8]) + good[at // 8 + 1 :] for at in range(0, 2800, 97)
    ]
    for bad in damaged:
        for copy in (cached_object(registry, oid), remote_object(registry, oid)):
            copy.unlink(missing_ok=True)
            overwrite(copy, bad) if copy.exists() else copy.write_bytes(bad)
            copy.chmod(0o444)
        with pytest.raises(Corrupt):
            registry.restore(snapshot, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())


def test_a_snapshot_that_was_tampered_with_is_refused(registry: DataRegistry, tmp_path: Path) -> None:
    text = json.loads(land(registry, "monday").to_json())
    text["files"][0]["md5"] = "0" * 32
    with pytest.raises(Corrupt):
        Snapshot.from_json(json.dumps(text))


@pytest.mark.parametrize("name", ["../up", "a/b", "", "..", "a" * 200, "a b"])
def test_a_name_that_leaves_the_folder_is_refused(registry: DataRegistry, name: str) -> None:
    with pytest.raises(BadSetting):
        land(registry, name)


def test_the_users_git_has_no_say(registry: DataRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / "ignore").write_text("*.json\n*.dvc\n.dvc\n")
    (tmp_path / ".gitconfig").write_text(
        f"[core]\nhooksPath={hooks}\nexcludesFile={tmp_path}/ignore\n[commit]\ngpgsign=true\n[init]\ntemplateDir={hooks}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    land(registry, "monday")
    assert git(registry.root, "log", "-1", "--format=%an").strip() == "holdfast"


KILLED = """
import os, signal, sys
from pathlib import Path
from data.versions import DataRegistry, registry
from data.versions.journal import Journal

when, owner, name = sys.argv[1].split(":")
owner = {"registry": registry, "DataRegistry": DataRegistry, "Journal": Journal}[owner]
act = getattr(owner, name)

def die(*words, **keys):
    if when == "after":
        act(*words, **keys)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, die)
DataRegistry(Path(sys.argv[2]), sys.argv[3]).land("digits", sys.argv[4], lambda path: path.write_bytes(b"new"), 50)
"""


def run(script: str, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", script, *words], env={**os.environ, "PYTHONPATH": str(Path.cwd())})


@pytest.mark.parametrize(
    ("point", "batch", "there"),
    [
        ("before:DataRegistry:_add", "tuesday", False),
        ("after:DataRegistry:_add", "monday", False),
        ("after:registry:replicate", "tuesday", False),
        ("before:registry:_line", "monday", False),  # files staged, commit not made
        ("before:Journal:end", "tuesday", True),  # committed, journal still there
    ],
)
def test_a_landing_killed_anywhere_happened_or_did_not(
    registry: DataRegistry, tmp_path: Path, point: str, batch: str, there: bool
) -> None:
    before = land(registry, "monday")
    assert run(KILLED, point, str(registry.root), registry.remote, batch).wait() == -9
    assert (registry.snapshot("digits") != before) is there

    land(registry, "friday")
    assert len(registry.snapshot("digits").files) == 2 + there
    seen = (registry.root / "digits" / "batches").iterdir()
    assert sorted(path.name for path in seen) == [file.name for file in registry.snapshot("digits").files]

    landed = registry.land("digits", batch, lambda path: path.write_bytes(b"new") and None, rows=50)
    assert landed.changed is not there
    restored = {path.stem: path.read_bytes() for path in registry.restore(landed.snapshot, tmp_path / "out")}
    assert restored == {"monday": content("monday"), "friday": content("friday"), batch: b"new"}
    assert git(registry.root, "status", "--porcelain") == ""


MARKED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from data.versions import DataRegistry, erased
from data.versions.journal import Journal

git = erased.git

def die(*words):
    if words[1] == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return git(*words)

erased.git = die
if sys.argv[1] == "end":
    Journal.end = lambda self: os.kill(os.getpid(), signal.SIGKILL)
registry = DataRegistry(Path(sys.argv[2]), sys.argv[3])
registry.mark_erased("digits", registry.snapshot("digits").files[:1], reason="asked", at=datetime.now(UTC))
"""


@pytest.mark.parametrize(("point", "there"), [("add", False), ("commit", False), ("end", True)])
def test_what_was_erased_stands_in_the_registry_for_ever_or_not_at_all(
    registry: DataRegistry, point: str, there: bool
) -> None:
    assert registry.erased("digits") == {}
    before = land(registry, "monday", "tuesday")
    assert run(MARKED, point, str(registry.root), registry.remote).wait() == -9
    assert bool(registry.erased("digits")) is there
    land(registry, "wednesday")
    assert bool(registry.erased("digits")) is there
    for reason in ("asked", "asked again"):
        registry.mark_erased("digits", before.files[:1], reason=reason, at=datetime.now(UTC))
    registry.land("digits", "monday", lambda path: path.write_bytes(b"without them") and None, rows=49)
    [(sha256, entry)] = registry.erased("digits").items()
    assert (sha256, entry.batch, entry.reason) == (before.files[0].sha256, "monday", "asked")
    assert registry.at("digits", before.revision) == before
    assert git(registry.root, "status", "--porcelain") == ""


LANDING = """
import sys
from pathlib import Path
from data.versions import DataRegistry
for number in range(3):
    name = f"{sys.argv[1]}{number}"
    DataRegistry(Path(sys.argv[2]), sys.argv[3]).land("digits", name, lambda path: path.write_text(name), 1)
"""


def test_two_processes_land_at_once(registry: DataRegistry) -> None:
    both = [run(LANDING, who, str(registry.root), registry.remote) for who in ("left", "right")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(registry.snapshot("digits").files) == 6
    assert len(registry.history("digits")) == 6


PIPELINE = """\
stages:
  prepare:
    foreach: [digits]
    do:
      cmd: cat in/${item} > out/${item}
      deps:
      - in/${item}
      outs:
      - out/${item}
  train:
    foreach: [digits]
    do:
      cmd: cat out/${item} > end/${item}
      deps:
      - out/${item}
      outs:
      - end/${item}
"""


def test_a_stage_that_was_run_and_committed_has_nothing_left_for_dvc_to_do(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.ensure(PIPELINE)
    workspace.ensure(PIPELINE)
    for folder in ("in", "out", "end"):
        (workspace.root / folder).mkdir()
        (workspace.root / folder / "digits").write_text("7")
    assert workspace.graph() == [("prepare@digits", "train@digits")]
    for stage in ("prepare@digits", "train@digits"):
        assert workspace.changed(stage)
        with workspace.lock():
            workspace.commit(stage)
        assert not workspace.changed(stage)
    said = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=workspace.root, capture_output=True, check=True)
    assert b"up to date" in said.stdout
    (workspace.root / "in" / "digits").write_text("8")
    assert workspace.changed("prepare@digits")
    assert not workspace.changed("train@digits")
