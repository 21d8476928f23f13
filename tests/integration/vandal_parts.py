"""Somebody with the run of MLflow, the keeper's rounds after each act, and the check of what is served."""

import contextlib
from pathlib import Path
from random import Random

from loop_parts import Orchard, Orchestra, artifacts
from mlflow.exceptions import MlflowException

from data.errors import HoldfastError
from models.predictor import read_version
from tasks.keeping import Keeper

POISONED = '{"format": 1, "quality": {"metric": "accuracy", "slices": [poison]}, "facts": {"extra": poison}}'
POISONS = {
    "a number that no float holds": f'{{"value": 1{"0" * 400}}}',
    "parts within parts": f'{{"value": 0.5, "slice": "a", "rows": 1, "extra": {"[" * 600 + "]" * 600}}}',
    "half a character": r'{"slice": "\ud800", "rows": 1, "value": 0.5}',
}


class Vandal:
    """One wrong act after another, drawn from a seed."""

    def __init__(self, orchard: Orchard, mlflow_folder: Path, seed: int) -> None:
        self.orchard, self.folder, self.random = orchard, mlflow_folder, Random(seed)
        self.client = orchard.models.client

    def act(self) -> str:
        often = [self.give_alias] * 5 + [self.flip_bytes] * 3 + [self.poison] * 2 + [self.ask_by_tag]
        act = self.random.choice([*often, self.take_alias, self.retag, self.delete_version, self.delete_run])
        with contextlib.suppress(MlflowException, IndexError):  # what is gone can't be spoiled again
            act()
        return act.__name__

    def version(self) -> str:
        return self.random.choice(self.orchard.models.versions(self.orchard.name)).number

    def give_alias(self) -> None:
        self.client.set_registered_model_alias(self.orchard.name, "champion", self.version())

    def ask_by_tag(self) -> None:
        self.client.set_model_version_tag(self.orchard.name, self.version(), "promote", "true")

    def take_alias(self) -> None:
        alias = self.random.choice(["champion", "previous", "challenger"])
        self.client.delete_registered_model_alias(self.orchard.name, alias)

    def retag(self) -> None:
        self.client.set_model_version_tag(self.orchard.name, self.version(), "stage", "champion")

    def delete_version(self) -> None:
        self.client.delete_model_version(self.orchard.name, self.version())

    def delete_run(self) -> None:
        self.client.delete_run(self.orchard.models.run_of(self.orchard.name, self.version()))

    def flip_bytes(self) -> None:
        folder = artifacts(self.folder, self.orchard, self.version())
        path = self.random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        content = bytearray(path.read_bytes())
        for _ in range(3):
            content[self.random.randrange(len(content))] ^= 0xFF
        path.write_bytes(bytes(content))

    def poison(self) -> None:
        """JSON that some parsers and calculations choke on, in the place of a version's card or snapshot."""
        folder = artifacts(self.folder, self.orchard, self.version())
        name, poison = self.random.choice(["card.json", "snapshot.json"]), self.random.choice([*POISONS.values()])
        (folder / name).write_text(POISONED.replace("poison", poison))


def served_well(orchard: Orchard) -> int:
    """Check what the service is pointed at, as it would itself, and return its generation."""
    told = orchard.pointed
    assert told is not None
    [served] = [one for one in orchard.store.ledger.generations(orchard.name) if one.number == told["generation"]]
    folder = orchard.settings.home / "generations" / orchard.name / told["folder"]
    read_version(folder, manifest=served.manifest_sha256)
    assert served.gates
    assert all(gate["result"] == "passed" or gate["gate"] in served.waived for gate in served.gates)
    return served.number


def look(orchard: Orchard, orchestra: Orchestra, keeper: Keeper) -> None:
    """A few rounds, in which expected failures are told and nothing else may happen."""
    for duty in (keeper.fetch, keeper.requester.reconcile, keeper.fetch):
        with contextlib.suppress(HoldfastError):
            duty(orchard.name)
    orchestra.judge(orchard)
    for request in orchard.store.requests.open_ones(orchard.name):
        with contextlib.suppress(HoldfastError):
            keeper.requester.answer(request)
