from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import BadDeclaration, SourceUnavailable
from data.schema import Category, Number, Text
from projects import discovery
from tasks.scaffolding import scaffold


def table(rows: int = 300) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(rows)],
            "opened": pd.date_range("2026-01-01", periods=rows, freq="h").astype(str),
            "age": draws.integers(18, 90, rows),
            "income": np.where(draws.random(rows) < 0.1, np.nan, draws.normal(40000, 9000, rows)),
            "region": draws.choice(["north", "south"], rows),
            "note": [f"free text {i}" for i in range(rows)],
            "code": [f"x{i % 200}" for i in range(rows)],
            "churned": draws.choice(["yes", "no"], rows),
        }
    )


def test_the_written_file_loads_and_says_what_the_table_holds(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "customers.csv", index=False)
    scaffold("churn", tmp_path / "customers.csv", tmp_path / "projects")
    project = discovery.load("churn", (tmp_path / "projects",))
    schema = project.schema
    assert (schema.key, schema.time, schema.target, project.task) == (
        "customer_id",
        "opened",
        "churned",
        "classification",
    )
    assert schema.columns["region"] == Category(levels=("north", "south"))
    age, income = schema.columns["age"], schema.columns["income"]
    assert isinstance(age, Number)
    assert age.integer
    assert not age.nullable
    assert isinstance(income, Number)
    assert income.nullable
    assert schema.columns["note"] == Text(longest=2 * len("free text 299"))
    assert project.model.network == "transformer"
    assert "code" not in schema.columns
    assert "left out: 'code'" in (tmp_path / "projects" / "churn.py").read_text()
    assert sum(len(batch.frame) for batch in project.source()) == 300


@pytest.mark.parametrize(("every", "exchangeable"), [("h", True), ("6h", True), ("9h", False)])
def test_time_decides_which_rows_judge_only_where_the_newest_are_of_enough_days(
    tmp_path: Path, every: str, exchangeable: bool
) -> None:
    dated = table().assign(opened=pd.date_range("2026-01-01", periods=300, freq=every).astype(str))
    dated.to_csv(tmp_path / "customers.csv", index=False)
    written = scaffold("churn", tmp_path / "customers.csv", tmp_path)
    assert discovery.load("churn", (tmp_path,)).evaluation.exchangeable is exchangeable
    assert ("20 are needed" in written.read_text()) is exchangeable


@pytest.mark.parametrize("unit", [0.001, 1, 1000])
def test_the_margin_is_in_the_unit_of_the_number_to_predict(tmp_path: Path, unit: float) -> None:
    rents = table().assign(rent=np.random.default_rng(1).normal(800, 300, 300) * unit)
    rents.to_csv(tmp_path / "rents.csv", index=False)
    scaffold("rents", tmp_path / "rents.csv", tmp_path, target="rent")
    assert 3 * unit < discovery.load("rents", (tmp_path,)).gates.margin < 7 * unit


def test_a_table_without_a_key_is_numbered(tmp_path: Path) -> None:
    table()[["age", "income"]].to_csv(tmp_path / "plain.csv", index=False)
    scaffold("plain", tmp_path / "plain.csv", tmp_path / "projects", target="income")
    project = discovery.load("plain", (tmp_path / "projects",))
    assert project.task == "regression"
    (batch,) = project.source()
    assert batch.frame["row"].is_unique


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "customers.csv", index=False)
    scaffold("churn", tmp_path / "customers.csv", tmp_path)
    with pytest.raises(BadDeclaration, match="exists already"):
        scaffold("churn", tmp_path / "customers.csv", tmp_path)


@pytest.mark.parametrize("content", ["", "a,b\n", None])
def test_a_csv_that_holds_nothing_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "empty.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceUnavailable, match=r"empty\.csv"):
        scaffold("churn", path, tmp_path)


def test_a_target_that_is_not_there_is_named(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "customers.csv", index=False)
    with pytest.raises(BadDeclaration, match="churn"):
        scaffold("churn", tmp_path / "customers.csv", tmp_path, target="churn")
