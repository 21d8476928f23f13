"""Networks that no ONNX export is faithful to: trained, written, read, judged and served by a worker with torch."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import serving_parts as parts
import torch
from safetensors.numpy import save
from safetensors.torch import load_file
from store_parts import NOON
from torch import nn

from data.errors import BadDeclaration, Corrupt
from data.schema import Number, Rows, Schema
from models import frames, torch_process, torch_session
from models.cards import markdown, training
from models.encoding import Encoder
from models.exporting import NotExportable, export
from models.folder import BY_TORCH, LARGEST, MANIFEST, NETWORK, WEIGHTS, manifest_sha256, read_manifest, seal
from models.predictor import Predictor, read_version
from models.torch_session import SERVING, TorchSession, WorkerDown
from monitoring.records import WindowKey
from monitoring.store import open_store
from projects import discovery
from projects.declaration import Project
from tasks import evaluation, fitting
from tasks.role_files import write_role
from tasks.snapshot_rows import BATCH

PROJECT = """
from datetime import timedelta

from projects.declaration import Evaluation, Labels, Model, Number, Project, Schema, Training


def waves(spec):
    import torch
    from torch import nn

    print("a factory may print")

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(spec.numbers, spec.outputs)

        def forward(self, numbers):
            return self.head(torch.special.bessel_j0(numbers))  # which ONNX does not know

    return Waves()


project = Project(
    name="waves",
    task="regression",
    schema=Schema(columns={"depth": Number(), "height": Number()}, target="height", key="id"),
    source=lambda: iter(()),
    labels=Labels(delay=timedelta(0)),
    model=Model(network=waves),
    training=Training(epochs=2, device="cpu"),
    evaluation=Evaluation(metric="mae"),
)
"""
SCHEMA = Schema(columns={"depth": Number(), "height": Number()}, target="height", key="id")


def sea(rows: int) -> Rows:
    depth = np.linspace(-3, 3, rows)
    return {"id": np.array([f"w{n}" for n in range(rows)], object), "depth": depth, "height": np.cos(depth)}


def prepared(project: Project, folder: Path) -> None:
    """What `tasks.preparation` leaves."""
    (folder / "prepared").mkdir(parents=True)
    rows = {**sea(120), BATCH: np.full(120, "b", object)}
    for role, start in (("train", 0), ("judge", 1), ("anchor", 2)):
        write_role(folder, project.schema, role, [{name: values[start::3] for name, values in rows.items()}], 40)
    encoder = Encoder.fit(project.schema, None, sea(120))
    (folder / "prepared" / "encoder.json").write_text(json.dumps(encoder.to_json()))
    (folder / "prepared" / "summary.json").write_text("{}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project file and what its training has left."""
    folder = tmp_path_factory.mktemp("waves")
    (folder / "projects").mkdir()
    (folder / "projects" / "waves.py").write_text(PROJECT)
    project = discovery.load("waves", [folder / "projects"])
    prepared(project, folder)
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    return folder


@pytest.fixture(scope="module")
def opened(trained: Path) -> Iterator[Predictor]:
    predictor = read_version(trained / "model", project=trained / "projects" / "waves.py", patience=SERVING)
    yield predictor
    worker_of(predictor).close()


def worker_of(predictor: Predictor) -> Any:
    assert isinstance(predictor.session, TorchSession)
    return predictor.session.worker


def workers(pid: int) -> list[int]:
    """The torch workers of a process."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "models.worker" in line]


def until(true: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_network_that_the_exporter_refuses_becomes_a_version_that_torch_answers(trained: Path) -> None:
    model = trained / "model"
    assert not (model / NETWORK).exists()
    assert read_manifest(model, None).keys() == LARGEST.keys() - {NETWORK}
    assert json.loads((model / MANIFEST).read_text())["format"] == BY_TORCH
    assert json.loads((model / "predictor.json").read_text())["served_by"] == "torch"
    history = json.loads((trained / "history.json").read_text())
    assert history["difference"] is None
    assert "bessel_j0" in history["worker"]
    assert "Served by a torch worker, instead of the ONNX export, because the ONNX exporter refuses" in training(
        history
    )


def test_the_worker_answers_as_torch_does_and_is_measured_as_it_serves(trained: Path, opened: Predictor) -> None:
    project = discovery.load("waves", [trained / "projects"])
    found = evaluation.evaluate(project, trained)  # with a worker of its own
    weights = load_file(trained / "model" / WEIGHTS)
    encoder = Encoder.fit(project.schema, None, sea(120))
    numbers = torch.from_numpy(encoder.encode(sea(40))["numbers"])
    by_hand = torch.special.bessel_j0(numbers) @ weights["head.weight"].T + weights["head.bias"]
    expected = encoder.decode(by_hand.numpy()).values
    assert np.abs(opened.predict(sea(40)).values - expected).max() < 1e-5
    assert found["latency_ms"] > 0
    assert found["size_mb"] > 0
    history = json.loads((trained / "history.json").read_text())
    card = {"project": "waves", "quality": {"latency_ms": 3.21}, "training": {"worker": history["worker"]}}
    assert "Served by a torch worker, 3.2 ms a row, instead of the ONNX export, because" in markdown(card).replace(
        "\\", ""
    )


@pytest.mark.parametrize("name", sorted({*LARGEST, MANIFEST} - {NETWORK}))
def test_no_changed_byte_of_it_is_accepted(trained: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(trained / "model", tmp_path / "copy"))
    content = (copy / name).read_bytes()
    for position in range(0, len(content), max(1, len(content) // 20)):
        (copy / name).write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        with pytest.raises(Corrupt):
            read_version(copy, project=trained / "projects" / "waves.py")
    (copy / name).unlink()
    with pytest.raises(Corrupt):
        read_version(copy)


def test_a_network_file_beside_it_or_a_mark_alone_changes_no_format(trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained / "model", tmp_path / "copy"))
    (copy / NETWORK).write_bytes(b"anything")
    with pytest.raises(Corrupt, match=NETWORK):
        read_version(copy)
    (copy / NETWORK).unlink()
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format": 1}, indent=2))
    with pytest.raises(Corrupt, match="manifest"):
        read_version(copy)


def test_other_code_than_it_was_trained_with_is_refused_and_none_too(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "waves.py"
    other.write_text(PROJECT.replace("bessel_j0(numbers)", "bessel_j1(numbers)"))
    with pytest.raises(Corrupt, match=r"the network's code in .*waves.py"):
        read_version(trained / "model", project=other)


def test_a_worker_that_hangs_is_not_waited_for_and_another_takes_its_place(opened: Predictor) -> None:
    worker, rows = worker_of(opened), sea(40)
    known, pid = opened.predict(rows).values, worker.process.pid
    os.kill(pid, signal.SIGSTOP)
    for why in ("did not answer within 1.5 s", "is starting again"):
        with pytest.raises(WorkerDown, match=why):
            opened.predict(rows)
    until(worker.ready.is_set)
    assert worker.process.pid != pid
    assert np.array_equal(opened.predict(rows).values, known)


def test_an_answer_that_was_read_half_is_nobody_elses(opened: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, rows = worker_of(opened), sea(40)
    known = opened.predict(rows).values

    def half(pipe: int, deadline: float | None = None) -> tuple[bytes, bytes]:
        frames.read(pipe, frames.HEADER.size + 5, deadline)
        raise MemoryError

    with monkeypatch.context() as narrow:
        narrow.setattr(torch_process, "receive", half)
        with pytest.raises(MemoryError):
            opened.predict(rows)
        assert not worker.ready.is_set()
    until(worker.ready.is_set)
    assert np.array_equal(opened.predict(rows).values, known)


def test_fewer_answers_than_rows_are_none(opened: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, rows = worker_of(opened), sea(16)
    known, body = opened.predict(rows).values, save({"output": np.zeros((3, 1), np.float32)})
    with monkeypatch.context() as narrow:
        narrow.setattr(torch_process, "receive", lambda *_: (frames.ANSWER, body))
        with pytest.raises(WorkerDown, match=r"3 answers for \d+ rows"):
            opened.predict(rows)
    until(worker.ready.is_set)
    assert np.array_equal(opened.predict(rows).values, known)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_worker_opens_no_pickle_though_all_hashes_fit(trained: Path, tmp_path: Path) -> None:
    copy, trace = Path(shutil.copytree(trained / "model", tmp_path / "copy")), tmp_path / "it ran"
    (copy / WEIGHTS).write_bytes(pickle.dumps(Evil(trace)))
    seal(copy)
    with pytest.raises(Corrupt, match="weights"):
        read_version(copy, project=trained / "projects" / "waves.py")
    assert not trace.exists()


class Shrunk(nn.Module):
    """Takes what is small for nothing, where there is something small: row by row, but a trace keeps one way."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        if bool((numbers.abs() < 0.7).any()):
            numbers = nn.functional.hardshrink(numbers, 0.7)
        return self.head(numbers)


class Looped(nn.Module):
    """Takes row by row; a trace knows as many as it saw."""

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.cat([row[None] * 2 for row in numbers])


class Dicing(nn.Module):
    """Leaves its dropout on."""

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(numbers, 0.5, training=True)


@pytest.mark.parametrize(
    ("network", "error", "why"),
    [
        (Shrunk(), NotExportable, "its export differs from torch by .*, and 0.0001 is allowed"),
        (Looped(), NotExportable, "its export takes only some numbers of rows"),
        (Dicing(), BadDeclaration, "the network answers the same rows otherwise each time"),
    ],
)
def test_an_export_that_answers_otherwise_is_no_version_and_leaves_no_file(
    network: nn.Module, error: type[Exception], why: str, tmp_path: Path
) -> None:
    encoder = Encoder.fit(SCHEMA, None, sea(40))
    with pytest.raises(error, match=why):
        export(network, encoder, tmp_path / NETWORK)
    assert not (tmp_path / NETWORK).exists()


def test_an_export_that_is_wrong_on_real_rows_only_is_found(tmp_path: Path) -> None:
    encoder = Encoder.fit(SCHEMA, None, sea(40))
    rare = Rare()
    assert export(rare, encoder, tmp_path / NETWORK) == 0.0  # random rows don't come that far
    real = {"numbers": np.array([[0.0], [5.0]], np.float32)}
    with pytest.raises(NotExportable, match="differs"):
        export(rare, encoder, tmp_path / NETWORK, real)


class Rare(nn.Module):
    """Doubles what is far off, in a way that no trace on common rows sees."""

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.where(numbers > 4, 2 * numbers, numbers) if bool((numbers > 4).any()) else numbers + 0


def test_the_service_answers_through_a_worker_without_torch_of_its_own_and_outlives_its_death(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "generations" / "waves" / "1"
    shutil.copytree(trained / "model", folder)
    parts.point(tmp_path, "waves", 1, manifest_sha256(folder))
    parts.promote(tmp_path, 1, 2.0)
    journal: dict[str, float] = {}
    with (
        parts.serving(tmp_path, HOLDFAST_PROJECTS=str(trained / "projects")) as service,
        httpx.Client(base_url=service.url, timeout=20) as client,
    ):
        parts.wait_for_generation(client, "waves", 1)
        [first] = workers(service.process.pid)
        assert "libtorch" in Path(f"/proc/{first}/maps").read_text()
        assert "libtorch" not in Path(f"/proc/{service.process.pid}/maps").read_text()
        assert asked(client, journal) == 200
        os.kill(first, signal.SIGKILL)
        said = []
        until(lambda: said.append(asked(client, journal)) or said[-3:] == [200] * 3)
        assert set(said) <= {200, 503}
        [second] = workers(service.process.pid)
        assert second != first

        os.kill(second, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=service.url, timeout=20) as other:
            hangs = pool.submit(asked, other, journal)
            others = []
            while not hangs.done():
                others.append(client.post("/v1/prices/predict", json={"rows": [{"size": 1.0, "note": "a"}]}))
        assert hangs.result() == 503
        assert len(others) > 3  # it hung for longer than one answer of another project takes
        assert {answer.status_code for answer in others} == {200}
        until(lambda: asked(client, journal) == 200)

        parts.price_version(tmp_path / "generations" / "waves" / "2", 2.0)
        parts.point(tmp_path, "waves", 2, manifest_sha256(tmp_path / "generations" / "waves" / "2"))
        parts.wait_for_generation(client, "waves", 2)
        until(lambda: not workers(service.process.pid))  # the old one's worker went with it
    store = open_store(f"sqlite:///{tmp_path / 'holdfast.db'}")
    logged = {
        one.id: one.output["value"] for one in store.predictions.rows(WindowKey("waves", 1, 0, NOON, NOON, 0, 9999))
    }
    store.close()
    assert logged == journal


def test_a_worker_that_does_not_come_up_holds_up_no_start_no_other_project_and_no_newer_generation(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "projects").mkdir()
    hangs = PROJECT.replace("project = Project(", "import time\n\ntime.sleep(600)\nproject = Project(")
    (tmp_path / "projects" / "waves.py").write_text(hangs)
    folder = tmp_path / "generations" / "waves" / "1"
    shutil.copytree(trained / "model", folder)
    parts.point(tmp_path, "waves", 1, manifest_sha256(folder))
    parts.promote(tmp_path, 1, 2.0)
    with (
        parts.serving(tmp_path, HOLDFAST_PROJECTS=str(tmp_path / "projects")) as service,
        httpx.Client(base_url=service.url, timeout=20) as client,
    ):
        told = client.get("/readyz")
        assert told.status_code == 503
        assert "is loading" in told.json()["projects"]["waves"]["problem"]
        refusal = client.post("/v1/waves/predict", json={"rows": [{"depth": 0.1}]})
        assert refusal.status_code == 503
        assert "is loading" in refusal.json()["error"]
        parts.promote(tmp_path, 2, 3.0)
        parts.wait_for_generation(client, "prices", 2)
        manifest = parts.price_version(tmp_path / "generations" / "waves" / "2", 2.0)
        parts.point(tmp_path, "waves", 2, manifest)
        parts.wait_for_generation(client, "waves", 2)
        assert client.get("/readyz").status_code == 200


def asked(client: httpx.Client, journal: dict[str, float]) -> int:
    """Ask for three rows, and write down what is acknowledged."""
    rows = [{"id": f"r{len(journal) + n}", "depth": 0.1 * n} for n in range(3)]
    answer = client.post("/v1/waves/predict", json={"rows": rows})
    if answer.status_code == 200:
        journal.update({one["id"]: one["value"] for one in answer.json()["predictions"]})
    else:
        assert "torch worker" in answer.json()["error"]
        assert answer.headers["retry-after"]
    return answer.status_code


def test_a_worker_dies_with_its_parent(trained: Path) -> None:
    code = (
        "import pathlib, sys, time; from models.predictor import read_version\n"
        "made = read_version(pathlib.Path(sys.argv[1]), project=pathlib.Path(sys.argv[2]))\n"
        "print(made.session.worker.process.pid, flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(trained / "model"), str(trained / "projects" / "waves.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGSTOP)  # it does not see its pipe close
        parent.kill()
    until(lambda: not Path(f"/proc/{worker}").exists())


def test_trained_again_it_is_the_same_version_to_the_byte(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "prepared", tmp_path / "prepared")
    project = discovery.load("waves", [trained / "projects"])
    fitting.fit(project, tmp_path, device="cpu", progress=lambda _share, _what: None)
    assert manifest_sha256(tmp_path / "model") == manifest_sha256(trained / "model")


def test_an_older_networks_code_may_stand_beside_a_newer_one(trained: Path, tmp_path: Path) -> None:
    edited = PROJECT.replace("network=waves", "network=ripples").replace(
        "project = Project(", "def ripples(spec):\n    return None\n\n\nproject = Project("
    )
    (tmp_path / "waves.py").write_text(edited)
    predictor = read_version(trained / "model", project=tmp_path / "waves.py")
    assert len(predictor.predict(sea(3))) == 3


def test_of_many_workers_most_rest_until_they_are_asked(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_session, "MOST_AWAKE", 1)
    opened = [read_version(trained / "model", project=trained / "projects" / "waves.py") for _ in range(2)]
    assert [len(one.session.workers) for one in opened] == [0, 1]  # type: ignore[attr-defined]
    answers = [one.predict(sea(3)).values for one in opened[::-1]]
    assert np.array_equal(*answers)
    assert [len(one.session.workers) for one in opened] == [1, 0]  # type: ignore[attr-defined]
