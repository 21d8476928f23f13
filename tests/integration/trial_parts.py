"""A tiny champion with a version on trial beside it, in a real home and a real store."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import serving_parts as parts
from prefect_stack import until

from monitoring.effects import NewDecision
from monitoring.records import Generation
from monitoring.store import Store
from monitoring.store.trials import Mode, Trial
from serving.trials import drawn
from tasks.resources import Resources
from tasks.settings import Settings
from tasks.trial_rounds import TrialRounds

CHAMPION, CHALLENGER = 2.0, 3.0  # factors
PRICES = """
from projects.declaration import Category, Evaluation, Model, Number, Project, Schema

project = Project(
    name="prices",
    task="regression",
    schema=Schema(columns={"note": Category(levels=("a", "b"), open=True, nullable=True),
        "size": Number(low=-1000.0, high=1000.0), "price": Number()}, target="price", key="house", time="sold_at"),
    source=list,
    model=Model(network="mlp"),
    evaluation=Evaluation(metric="mae"),
)
"""
MARGINS = {
    "metric": "mae",
    "minimum_rows": 40,
    "error_margin": 0.05,
    "latency_margin": 1000.0,
    "metric_margin": 0.5,
}


class Place:
    """A home whose champion doubles the size."""

    def __init__(self, home: Path) -> None:
        (home / "projects").mkdir(parents=True)
        (home / "projects" / "prices.py").write_text(PRICES)
        self.home, self.folder = home, home / "generations" / "prices"
        settings = Settings(home=home, projects=str(home / "projects"), embedded=True)
        self.resources = Resources(settings)
        self.rounds = TrialRounds(self.resources)
        self.promote(1, CHAMPION)

    @property
    def store(self) -> Store:
        return self.resources.store

    def promote(self, number: int, factor: float) -> None:
        manifest = parts.price_version(self.folder / str(number), factor)
        new = Generation("prices", 0, str(100 + number), "run", manifest, datetime.now(UTC), "test", "a test", [])
        self.store.ledger.append_generation(number - 1, new)
        parts.point(self.home, "prices", number, manifest)

    def trial(self, mode: Mode, share: float = 0.0, factor: float | None = CHALLENGER, **margins: Any) -> Trial:
        """Let a version be on trial; without a factor one that has no answer for sizes below 0."""
        scratch = self.home / "version"
        manifest = parts.logarithm_version(scratch) if factor is None else parts.price_version(scratch, factor)
        now, line = datetime.now(UTC), NewDecision("prices", "trial", "version 7", "a test", {})
        wanted = {**MARGINS, **margins}
        new = Trial(0, "prices", "7", "run", manifest, 1, mode, share, wanted, "test", now)
        made = self.store.trials.start(new, line)
        scratch.replace(self.folder / f"trial-{made.id}")  # where the keeper would have downloaded it
        return made

    def look(self) -> None:
        """Let the keeper look, and compare."""
        self.rounds.due.clear()
        self.rounds.attend()

    def found(self, trial: Trial) -> Trial:
        found = self.store.trials.get(trial.id)
        assert found is not None
        return found


def factor_of(trial: Trial, key: str) -> float:
    """Return by which version a key is answered."""
    return CHALLENGER if trial.mode == "canary" and drawn(trial.id, key) < trial.share else CHAMPION


def ask(client: httpx.Client, ids: list[str], size: float = 10.0) -> dict[str, Any]:
    rows = [{"id": one, "size": size, "note": "a"} for one in ids]
    answer = client.post("/v1/prices/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until_tried(client: httpx.Client, place: Place, trial: Trial) -> None:
    """Wait until the service runs the trial: until it counts rows of it."""
    number = iter(range(100_000))

    def tried() -> bool:
        ask(client, [f"warm-{next(number)}-{one}" for one in range(8)])
        measured = place.found(trial).measured or {}
        return bool(measured and measured["challenger"]["rows"])

    until(tried, 10.0)
