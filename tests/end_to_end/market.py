"""The electricity market replayed day by day on its own clock: rows over HTTP, labels a day later, monitors between."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from mlflow_parts import mlflow_server
from serving_parts import Service, wait_for_generation
from serving_parts import serving as served

from data.catalogue import load
from monitoring.events import RETRAIN
from monitoring.records import Verdict
from projects.electricity import HISTORY_WEEKS, WEEK
from tasks import leases, retraining
from tasks.keeping import Keeper
from tasks.reports import Report
from tasks.resources import Resources, connect
from tasks.settings import Settings
from tasks.watching import watch

NAME = "electricity"
FIRST = 24  # week of the stream with which the history begins, so that row 17,424 is in the fourth week of traffic
TRAFFIC = (FIRST + HISTORY_WEEKS) * WEEK  # row
DAY = 48  # rows
FILE = f"""
    from projects.declaration import Catalogued, Project
    from projects.electricity import WEEK, project as shipped, weekly


    def later(stream):
        return weekly(stream.iloc[{FIRST} * WEEK :])


    project = Project(**{{**vars(shipped), "source": Catalogued(name="elec2", split=later)}})
"""


@dataclass
class Market:
    """A home with its servers, and what has been sent to it so far. `now` is the newest time sent."""

    resources: Resources
    service: Service
    stream: pd.DataFrame
    client: httpx.Client
    days: int = 0
    labelled: int = 0
    now: datetime | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: list[tuple[datetime, Verdict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.resources, self.emit, self.start, lambda _: "Running", lambda *_: True)

    def emit(self, event: str, payload: dict[str, Any]) -> None:
        if event == RETRAIN:  # incidents and runs have events too
            self.events.append({"event": event, **payload})

    def start(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        """Take note of forms; a training needs none, its event was enough."""
        assert deployment == f"ask/{NAME}", (deployment, parameters, key)
        return key

    def keep(self) -> None:
        """Do the keeper's duties but for the reports, which a test of their own makes."""
        for duty in self.keeper.duties():
            if duty != self.keeper.report:
                duty()

    def serve(self, generation: int) -> None:
        self.keep()
        wait_for_generation(self.client, NAME, generation)

    def day(self, number: int) -> pd.DataFrame:
        return self.stream.iloc[TRAFFIC + number * DAY : TRAFFIC + (number + 1) * DAY]

    def send_a_day(self) -> None:
        """Send the next day's rows, and the labels that have arrived by its end: those of the day before."""
        rows = self.day(self.days).drop(columns=["class"])
        asked = [{**row, "time": row["time"].isoformat()} for row in rows.to_dict("records")]
        answer = self.client.post(f"/v1/{NAME}/predict", json={"rows": asked})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert not self.answers.keys() & {one["id"] for one in body["predictions"]}
        self.answers |= {one["id"]: {"answer": one, "generation": body["generation"]} for one in body["predictions"]}
        self.now = rows["time"].iloc[-1].to_pydatetime()
        self.days += 1
        if self.days > 1:
            self.label_a_day()

    def label_a_day(self) -> None:
        delay = timedelta(days=1)
        known = self.day(self.labelled)
        assert self.now is not None
        assert (known["time"] + delay <= self.now + timedelta(minutes=30)).all()
        said = [
            {"id": row["key"], "label": row["class"], "time": (row["time"] + delay).isoformat()}
            for row in known.to_dict("records")
        ]
        answer = self.client.post(f"/v1/{NAME}/labels", json={"labels": said})
        assert answer.json()["new"] == DAY, answer.text
        self.labelled += 1

    def monitor(self) -> Report:
        """Watch once, and note at which time of the market each new verdict was given."""
        assert self.now is not None
        known = {key_of(verdict) for verdict in self.verdicts()}
        report = watch(self.resources, NAME)
        self.given += [(self.now, verdict) for verdict in self.verdicts() if key_of(verdict) not in known]
        self.keep()
        return report

    def verdicts(self) -> list[Verdict]:
        return self.resources.store.verdicts.all(NAME)

    def train(self, holder: str, intent: int | None = None) -> leases.Run:
        """Do what the flow does."""
        with leases.leased(self.resources, NAME, holder=holder, intent=intent) as run:
            retraining.collect(self.resources, run)
            retraining.prepare(self.resources, run)
            retraining.fit(self.resources, run, "cpu", lambda _share, _what: None)
            retraining.evaluate(self.resources, run)
            retraining.register(self.resources, run)
            retraining.judge(self.resources, run)
            retraining.settle(self.resources, run)
        return run


def key_of(verdict: Verdict) -> tuple[int, int, str]:
    return verdict.window.generation, verdict.window.index, verdict.check


@contextmanager
def market(folder: Path, datasets: Path) -> Iterator[Market]:
    """A home, a real MLflow server and a real service, and a project file that begins its history later."""
    home, projects, registry = folder / "home", folder / "projects", folder / "mlflow"
    for made in (home / "logs", projects, registry):
        made.mkdir(parents=True)
    (projects / f"{NAME}.py").write_text(textwrap.dedent(FILE))
    with mlflow_server(registry) as url, served(home) as service, httpx.Client(base_url=service.url) as client:
        settings = Settings(home=home, projects=str(projects), clock="data", mlflow_tracking_uri=url)
        yield Market(connect(settings), service, load("elec2", datasets), client)
