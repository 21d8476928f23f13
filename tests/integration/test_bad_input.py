"""What can't be learned from is refused where it shows, with the reason, and what serves goes on serving."""

from pathlib import Path

import pytest
from loop_parts import Orchard

from data.errors import BadDeclaration, HoldfastError, OneClass, OutOfMemory
from tasks import ingestion, retraining
from tasks.ingestion import ingest
from tasks.leases import Run, leased
from tasks.resources import Resources
from tasks.settings import Settings

MIXED = """
import io

import numpy as np
import pandas as pd
from PIL import Image as Pictures

from data.wav import write_wav
from projects.declaration import (
    Audio, Batch, Category, Image, Model, Project, Schema, Series, Text,
)


def png(number):
    file = io.BytesIO()
    Pictures.fromarray(np.full((4, 4), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def rows(first):
    return pd.DataFrame({
        "id": [f"row-{first + n}" for n in range(20)],
        "photo": [png(n) for n in range(20)],
        "clip": [write_wav(8000, np.full(400, n, np.int16)) for n in range(20)],
        "note": [f"parcel {n} came late" for n in range(20)],
        "load": [[[float(n)], [2.0], [3.0]] for n in range(20)],
        "kind": ["a", "b"] * 10,
    })


def batches():
    yield Batch("1-good", rows(0))
    some = rows(100)
    for name, at, value in (
        ("photo", 1, png(1)[:40]),
        ("clip", 2, write_wav(8000, np.zeros(400, np.int16))[:-10]),
        ("note", 3, "  "),
        ("load", 4, [[1.0], [None], [3.0]]),
    ):
        some.at[at, name] = value
    yield Batch("2-some-bad", some)
    yield Batch("photo", rows(200).assign(photo=[b"no picture"] * 20))
    yield Batch("clip", rows(200).assign(clip=[b"no sound"] * 20))
    yield Batch("note", rows(200).assign(note=[""] * 20))
    yield Batch("load", rows(200).assign(load=[[[1.0], [None], [3.0]]] * 20))


project = Project(
    name="mixed",
    task="classification",
    schema=Schema(
        columns={
            "photo": Image(height=4, width=4),
            "clip": Audio(rate=8000, seconds=0.1),
            "note": Text(longest=60),
            "load": Series(length=3, channels=("north",)),
            "kind": Category(levels=("a", "b")),
        },
        target="kind",
        key="id",
    ),
    source=batches,
    model=Model(network="mlp"),
)
"""
REFUSED = {
    "photo": "photo: ",
    "clip": "clip: is not a WAV file",
    "note": "note: is empty",
    "load": "load: has a gap at step 1 of north",
}


def test_a_bad_cell_of_any_kind_costs_its_row_and_a_batch_of_nothing_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "mixed.py").write_text(MIXED)
    resources = Resources(Settings(home=tmp_path / "home", projects=str(tmp_path / "projects")))
    states = {str(one["batch"]): one for one in ingest(resources, "mixed").table}
    assert {name: (one["accepted"], one["quarantined"]) for name, one in states.items()} == {
        "1-good": (20, 0),
        "2-some-bad": (16, 4),
        **dict.fromkeys(REFUSED, (0, 20)),
    }
    assert resources.batches.snapshot("mixed").rows == 36
    assert states["2-some-bad"]["why"].split("; ") == [
        "clip: is a WAV file that is cut short",
        "load: has a gap at step 1 of north",
        "note: is empty",
        "photo: is a PNG that can't be read",
    ]
    for name, why in REFUSED.items():
        assert states[name]["why"].startswith(f"no row is as the schema says; the first: {why}")
    resources.store.close()


SOURCE, MODEL = (
    "np.where(size + sugar + 0.3 * noise.normal(size=320) > 0",
    'Model(network="mlp", options={"hidden": (8,)})',
)
HUNGRY = """
def hungry(spec):
    import torch

    class Hungry(torch.nn.Linear):
        def forward(self, numbers):
            return super().forward(numbers) + torch.empty(2**48).sum()

    return Hungry(spec.numbers, spec.outputs)


project = Project("""


def train(orchard: Orchard, run: Run) -> None:
    retraining.collect(orchard, run)
    retraining.prepare(orchard, run)
    retraining.fit(orchard, run, "cpu", lambda _share, _what: None)


@pytest.mark.parametrize(
    ("changes", "error", "why", "step"),
    [
        ([(SOURCE, "np.where(size > -99")], OneClass, "know one class only, 'yes'", "prepare"),
        (
            [("learning_rate=0.05", 'learning_rate=1e30, optimizer="sgd"')],
            BadDeclaration,
            "the loss is no number",
            "fit",
        ),
        ([("project = Project(", HUNGRY), (MODEL, "Model(network=hungry)")], OutOfMemory, "try batch_size=16", "fit"),
    ],
    ids=["one class", "loss is NaN", "out of memory"],
)
def test_a_training_that_can_not_be_fails_with_its_reason_and_the_champion_serves_on(
    orchard: Orchard, changes: list[tuple[str, str]], error: type[HoldfastError], why: str, step: str
) -> None:
    champion = orchard.promote()
    orchard.declare(*changes)
    ingestion.ingest(orchard, orchard.name)
    before = orchard.models.aliases(orchard.name), orchard.generations, orchard.serving
    with pytest.raises(error, match=why) as failed, leased(orchard, orchard.name, holder="run-1") as run:
        train(orchard, run)
    assert step in [entry.name for entry in failed.traceback]
    assert (orchard.models.aliases(orchard.name), orchard.generations, orchard.serving) == before
    assert [one.number for one in orchard.models.versions(orchard.name)] == [champion]
    assert orchard.store.leases.current(orchard.name) is None
