import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from data.packing import pack_all
from data.schema import Rows, take
from models.encoding import Encoder
from models.folder import PREDICTOR, manifest_sha256
from models.networks import build
from models.predictor import read_version
from models.writing import make_version
from monitoring import reference, stored_reference
from monitoring.answers import read_shortly
from monitoring.effects import NewIncident
from monitoring.records import Generation, Prediction, WindowKey
from monitoring.verdicts import judge_data
from tasks import reporting
from tasks.observing import embedded, observed
from tasks.referencing import importance_of, projection_of
from tasks.resources import Resources
from tasks.settings import Settings

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:evidently"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litestar"),
]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
WINDOW = 100
PEARS = """
from projects.declaration import Category, Features, Image, Model, Monitors, Number, Project, Schema, Window


def doubled(rows):
    return {"twice": rows["size"] * 2.0}


project = Project(
    name="pears",
    task="classification",
    schema=Schema(
        columns={"photo": Image(height=8, width=8), "size": Number(), "ripe": Category(levels=("no", "yes"))},
        target="ripe",
        key="pear",
    ),
    source=list,
    model=Model(network="cnn", options={"channels": (4,), "hidden": (16,)}),
    features=Features(columns={"twice": Number()}, compute=doubled),
    monitors=Monitors(window=Window(rows=100)),
)
"""


def pears(rows: int, seed: int, shift: float = 0.0) -> Rows:
    rng = np.random.default_rng(seed)
    return {
        "pear": np.array([f"p{seed}-{at}" for at in range(rows)], dtype=object),
        "photo": rng.integers(0, 200, (rows, 8, 8)).astype(np.uint8),
        "size": rng.normal(shift, 1.0, rows),
        "ripe": np.array(["no", "yes"], dtype=object)[rng.integers(0, 2, rows)],
    }


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Resources]:
    """A home in which a version with pictures and a computed column has answered four windows, the last two shifted."""
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "pears.py").write_text(PEARS)
    resources = Resources(Settings(home=tmp_path / "home", projects=str(tmp_path / "projects")))
    project, known = resources.project("pears"), pears(600, 1)
    encoder = Encoder.fit(project.schema, project.features, known)
    torch.manual_seed(0)
    folder = resources.settings.home / "generations" / "pears" / "1"
    folder.mkdir(parents=True)
    file, network = resources.project_file("pears"), build(project.model, encoder.spec)
    make_version(
        folder,
        model=project.model,
        network=network,
        encoder=encoder,
        rows=known,
        project=file,
    )
    predictor = read_version(folder, features=project.features)
    held_out = np.arange(600) % 2 == 0
    projection, answers = projection_of(predictor, known, held_out), predictor.predict(known)
    assert projection is not None
    built = reference.build(
        {**predictor.monitored, **projection.columns},
        {**predictor.observe(known, answers), **embedded(predictor, known, projection)},
        held_out=held_out,
        losses=np.zeros(300),
        task="classification",
        exchangeable=True,
        importance=importance_of(project, predictor, take(known, held_out), projection),
        projection=projection,
    )
    new = Generation("pears", 1, "1", "a run", manifest_sha256(folder), NOW, "test", "a test", [])
    resources.store.ledger.append_generation(0, new, reference=stored_reference.to_bytes(built))
    for index in range(4):
        rows = pears(WINDOW, 10 + index, shift=2.0 if index > 1 else 0.0)
        packed, said = pack_all(project.schema, rows), predictor.predict(rows).answers()
        logged = [
            Prediction(id_, "pears", 1, NOW, NOW + timedelta(seconds=index), packed[at], said[at])
            for at, id_ in enumerate(rows["pear"].tolist())
        ]
        resources.store.predictions.append(logged)
        window = WindowKey("pears", 1, index, NOW, NOW, index * WINDOW, (index + 1) * WINDOW)
        seen = observed(resources.store, predictor, window, read_shortly, projection)[0]
        resources.store.verdicts.record(judge_data(built, seen, project.monitors, window), NOW)
    yield resources
    resources.store.close()


def reports(resources: Resources) -> dict[int, dict[str, str] | None]:
    return {one.verdict.window.index: one.report for one in resources.store.verdicts.history("pears", 9)}


def test_pending_reports_are_made_from_what_is_stored_with_what_the_project_and_the_champion_compute(
    served: Resources,
) -> None:
    assert reporting.make_reports(served) == 4
    assert served.store.verdicts.without_report() == []
    found, folder = reports(served), served.settings.home / "reports"
    assert found[0] == {"json": "pears/1/0.json", "html": None}
    assert found[3] == {"json": "pears/1/3.json", "html": "pears/1/3.html"}
    stored = orjson.loads((folder / "pears/1/3.json").read_bytes())
    shown = {metric["config"]["column"] for metric in stored["evidently"]["metrics"]}
    assert {"size", "twice", "photo.brightness", "embedding 1", "embedding rest", "prediction"} <= shown
    assert stored["left_out"] == {}
    assert (folder / "pears/1/3.html").stat().st_size < 6_000_000


def test_a_report_that_can_not_be_made_says_why_and_stops_no_other(served: Resources) -> None:
    (served.settings.home / "generations" / "pears" / "1" / PREDICTOR).write_bytes(b"{}")
    assert reporting.make_reports(served) == 4
    assert all("corrupt" in (one or {})["why"] for one in reports(served).values())
    assert reporting.make_reports(served) == 0


def test_only_the_newest_pages_are_kept_and_those_of_open_incidents(
    served: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "PAGES", 2)
    folder = served.settings.home / "reports" / "pears" / "1"
    folder.mkdir(parents=True)
    for index, verdict in enumerate(served.store.verdicts.all("pears", check="data")):
        made = {kind: f"pears/1/{index}.{kind}" for kind in ("json", "html")}
        for path in made.values():
            (folder.parent.parent / path).write_text("made before")
            os.utime(folder.parent.parent / path, (index, index))
        served.store.verdicts.attach_report(verdict.window, "data", made)
    served.store.incidents.open(NewIncident("pears", "drift", 1, "a test", {"windows": [1]}, first_window=1), NOW)
    gone = reporting.prune(served, "pears")
    assert [page.name for page in gone] == ["0.html"]
    names = ["0.json", "1.html", "1.json", "2.html", "2.json", "3.html", "3.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert reports(served)[0] == {"json": "pears/1/0.json", "html": None, "why": "its page was old"}
    assert reporting.prune(served, "pears") == []
