"""A source that gives all its rows each time, whose rows and columns change, through a real registry of batches."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import TooFewRows, WrittenBefore
from data.schema import Rows
from tasks.ingestion import ingest
from tasks.preparation import prepare
from tasks.resources import Resources, connect
from tasks.role_files import read_role
from tasks.settings import Settings
from tasks.snapshot_rows import gather

FILE = """
    from pathlib import Path

    import pandas as pd

    from projects.declaration import Category, Evaluation, Model, Number, Project, Schema


    def everything():
        return pd.read_csv(Path(__file__).with_name("plots.csv"), dtype=str)


    project = Project(
        name="plots",
        task="classification",
        schema=Schema(
            columns={"rain": Number(), COLUMNS "good": Category(levels=("no", "yes"))},
            target="good", key="id", entity=ENTITY,
        ),
        source=everything,
        model=Model(network="mlp"),
        evaluation=Evaluation(exchangeable=True, judge=0.2, anchor=0.1),
    )
"""


class Plots:
    """A home, a project file and a table, all of which may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = pd.DataFrame({"id": [f"p{i:03d}" for i in range(300)], "rain": [f"{i}" for i in range(300)]})
        self.rows["good"] = ["no", "yes"] * 150

    def declared(self, columns: str = "", entity: str = "None") -> Resources:
        text = textwrap.dedent(FILE).replace("COLUMNS ", columns).replace("ENTITY", entity)
        (self.folder / "plots.py").write_text(text)
        return connect(Settings(home=self.folder / "home", projects=str(self.folder)))

    def ingest(self, resources: Resources) -> list[str]:
        self.rows.to_csv(self.folder / "plots.csv", index=False)
        ingest(resources, "plots")
        return [file.name for file in resources.batches.snapshot("plots").files]

    def read(self, resources: Resources) -> Rows:
        snapshot, schema = resources.batches.snapshot("plots"), resources.project("plots").schema
        return gather(resources.batches, snapshot, schema, self.folder / "cache").all()

    def prepare(self, resources: Resources) -> Rows:
        folder = resources.artifacts("plots")
        prepare(resources.project("plots"), resources.batches, folder)
        return read_role(folder, resources.project("plots").schema, "train")


@pytest.fixture
def plots(tmp_path: Path) -> Plots:
    return Plots(tmp_path)


def test_what_a_table_says_last_holds_and_the_same_again_changes_nothing(plots: Plots) -> None:
    resources, before = plots.declared(), plots.rows
    corrected = before.assign(good=["yes", "no"] * 150)
    for given, batches in ((before, 1), (before, 1), (corrected, 2), (before, 3), (before, 3)):
        plots.rows = given
        assert len(plots.ingest(resources)) == batches
        assert plots.read(resources)["good"].tolist() == given["good"].tolist()
    said = [line.reason for line in resources.store.ledger.decisions("plots", kinds=("ingest",))]
    assert said == ["300 rows accepted, 0 in quarantine"] * 3


def test_a_refused_table_given_again_is_in_quarantine_once(plots: Plots) -> None:
    resources = plots.declared()
    plots.ingest(resources)
    plots.rows = plots.rows.assign(rain=["wet", *plots.rows["rain"][1:]])
    for _ in range(2):
        plots.ingest(resources)
    kept = resources.batches.snapshot("plots", "quarantine").files
    assert [(file.name, file.rows) for file in kept] == [(kept[0].name, 1)]
    assert kept[0].name.startswith("frame-000002-")


def test_a_column_that_may_be_null_is_learned_once_enough_rows_have_it(plots: Plots) -> None:
    plots.ingest(plots.declared())
    grown = plots.declared('"wind": Number(nullable=True), ')
    assert plots.read(grown)["wind"].shape == (300,)
    with pytest.raises(TooFewRows, match="a value in 'wind', a newer column"):
        plots.prepare(grown)
    plots.rows = pd.DataFrame({"id": [f"q{i}" for i in range(100)], "rain": "1", "good": ["no", "yes"] * 50})
    plots.rows["wind"] = [f"{i}" for i in range(100)]
    plots.ingest(grown)
    learned = plots.prepare(grown)
    known = ~pd.isna(learned["wind"])
    assert known.any()
    assert {key[0] for key in learned["id"][known]} == {"q"}
    assert {key[0] for key in learned["id"][~known]} == {"p"}


def test_columns_that_no_row_can_be_without_are_asked_for_until_the_table_has_them(plots: Plots) -> None:
    plots.ingest(plots.declared())
    grown = plots.declared('"wind": Number(), ', '"farm"')
    with pytest.raises(WrittenBefore, match=r"'frame-000001-\w+' came before the schema had 'farm', 'wind'"):
        plots.prepare(grown)
    plots.rows = plots.rows.assign(wind="3", farm=[f"f{i // 3}" for i in range(300)])
    plots.ingest(grown)
    learned = plots.prepare(grown)
    assert set(learned["wind"]) == {3.0}
    assert len(set(learned["farm"])) < len(learned["farm"]) / 2


def test_a_column_that_nearly_nobody_fills_in_is_not_learned_though_the_table_has_it(plots: Plots) -> None:
    plots.ingest(plots.declared())
    grown = plots.declared('"wind": Number(nullable=True), ')
    plots.rows = plots.rows.assign(wind=["3"] * 15 + [None] * 285)
    plots.ingest(grown)
    with pytest.raises(TooFewRows, match="a value in 'wind', a newer column"):
        plots.prepare(grown)
    plots.rows = plots.rows.assign(wind=["3"] * 150 + [None] * 150)
    plots.ingest(grown)
    assert np.isfinite(plots.prepare(grown)["wind"]).sum() >= 20
