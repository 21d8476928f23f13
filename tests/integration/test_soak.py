"""Load, kills, swaps and a vandal at once: what was acknowledged is in the log once, as answered (P1, P3, P5, P8)."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import serving_parts as parts
from loop_parts import Orchard, Orchestra
from soak_parts import Audit, Crowd, Journal, audit, variant
from store_parts import KINDS, new_database
from vandal_parts import Vandal, look, served_well

from tasks.placing import place

VARIANTS = 4


@dataclass(frozen=True)
class Plan:
    """How much is done, and within what time."""

    kills: int
    swaps: int
    acts: int  # of the vandal
    spoilings: int
    rows: int  # answered between two of them
    seconds: float


TWIN = Plan(kills=2, swaps=1, acts=2, spoilings=1, rows=20, seconds=300)
SOAK = Plan(kills=24, swaps=10, acts=40, spoilings=4, rows=200, seconds=1800)


def flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 0xFF
    path.write_bytes(bytes(content))


class Siege:
    """A service under load, and all that is done to it, drawn from a seed."""

    def __init__(self, orchard: Orchard, mlflow_folder: Path, scratch: Path, seed: int) -> None:
        self.orchard, self.random, self.scratch = orchard, Random(seed), scratch
        folders = [scratch / f"variant-{number}" for number in range(VARIANTS)]
        self.versions = dict(variant(orchard.trained, folder, self.random) for folder in folders)
        self.folders = folders
        self.orchestra = Orchestra()
        self.keeper = self.orchestra.keeper(orchard)
        self.vandal = Vandal(orchard, mlflow_folder, seed + 1)
        self.journal = Journal(scratch / "journal.jsonl")
        self.port, self.done = parts.free_port(), Counter[str]()
        self.promote()
        self.keeper.fetch(orchard.name)
        self.service = self.start()
        self.crowd = Crowd(self.service.url, orchard.name, self.journal, seed, clients=4)

    def start(self) -> parts.Service:
        settings = self.orchard.settings
        service = parts.Service(
            settings.home, self.port, HOLDFAST_DATABASE_URL=settings.database_url, HOLDFAST_PROJECTS=settings.projects
        )
        service.wait()
        return service

    def promote(self) -> None:
        self.orchard.trained = self.folders[self.random.randrange(VARIANTS)]
        self.orchard.promote()

    def answers(self) -> None:
        """Wait until the generation of the ledger answers."""
        number = self.orchard.serving.number
        self.crowd.wait(lambda: number in self.crowd.generations)

    def kill(self) -> None:
        time.sleep(self.random.uniform(0, 0.2))
        self.service.kill()
        self.service = self.start()

    def swap(self) -> None:
        self.promote()
        self.keeper.fetch(self.orchard.name)
        self.answers()

    def act(self) -> None:
        self.done[self.vandal.act()] += 1
        look(self.orchard, self.orchestra, self.keeper)
        served_well(self.orchard)

    def spoil(self) -> None:
        """Turn a byte of a generation round after the keeper has checked it, before the service loads it."""
        self.promote()
        serving, aside = self.orchard.serving, self.scratch / "aside"
        home = self.orchard.settings.home / "generations" / self.orchard.name
        place(self.orchard, serving, aside)
        flip(aside / str(serving.number) / "network.onnx", self.random)
        said = self.said("the old one goes on")
        for name in (str(serving.number), "current.json"):
            (aside / name).replace(home / name)
        self.crowd.wait(lambda: self.said("the old one goes on") > said)
        assert serving.number not in self.crowd.generations
        self.keeper.fetch(self.orchard.name)
        self.answers()

    def said(self, words: str) -> int:
        return (self.orchard.settings.home / "service.log").read_text().count(words)

    def run(self, plan: Plan) -> None:
        """Do it all, in an order of the seed's."""
        acts: list[Callable[[], None]] = [self.kill] * plan.kills + [self.swap] * plan.swaps
        acts += [self.act] * plan.acts + [self.spoil] * plan.spoilings
        self.random.shuffle(acts)
        until = time.monotonic() + plan.seconds
        for act in acts:
            assert time.monotonic() < until, f"{sum(self.done.values())} acts took longer than {plan.seconds} s"
            self.crowd.go_on(plan.rows)
            act()
            self.done[act.__name__] += 1
        self.crowd.go_on(plan.rows)

    def end(self) -> None:
        self.crowd.end()
        self.service.kill()
        self.journal.close()

    def __repr__(self) -> str:
        return f"{dict(self.done)}, {self.orchard.serving.number} generations, {self.crowd}"

    def audit(self) -> Audit:
        ledger = self.orchard.store.ledger.generations(self.orchard.name)
        return audit(self.journal.path, self.orchard.store, self.orchard.name, self.versions, ledger)


def tell(capsys: pytest.CaptureFixture[str] | None, words: str) -> None:
    """Say what was done; past pytest's capture where somebody waits for it."""
    with capsys.disabled() if capsys else contextlib.nullcontext():
        sys.stdout.write(f"\n{words}\n")


CASES = [pytest.param(TWIN, "sqlite", id="twin")]
CASES += [pytest.param(SOAK, kind, id=f"soak-{kind}", marks=pytest.mark.soak) for kind in KINDS]


@pytest.mark.parametrize(("plan", "kind"), CASES)
def test_whatever_was_answered_under_kills_swaps_and_vandals_is_in_the_log_once_as_answered(
    orchard: Orchard,
    mlflow_folder: Path,
    tmp_path: Path,
    plan: Plan,
    kind: str,
    seed: int,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started, url = time.monotonic(), new_database(kind, request, tmp_path)
    city = replace(orchard, settings=orchard.settings.model_copy(update={"database_url": url}))
    siege = Siege(city, mlflow_folder, tmp_path, seed)
    try:
        siege.run(plan)
    finally:
        siege.end()
    found = siege.audit()
    tell(capsys if plan is SOAK else None, f"seed {seed}, {time.monotonic() - started:.0f} s: {siege}, {found}")
    assert found.problems == []
    assert found.worst < 1e-5
    assert siege.done["kill"] == plan.kills
    assert len(siege.crowd.generations) > plan.swaps
    assert siege.crowd.repeats
    assert siege.crowd.cut
    served_well(city)
    city.store.close()
