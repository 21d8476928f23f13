"""What must hold of every project that is shipped, whatever it is about: a new file is held to it by standing there."""

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data.batches import coerce
from data.expectations import guards
from data.packing import pack_all, unpack_rows
from data.schema import Audio, Category, Column, Id, Image, Rows, Series, Text, concatenate, length, take
from data.sources import fetch
from data.validation import validate
from models.folder import WEIGHTS
from models.predictor import Predictor, read_version
from projects import discovery
from projects.declaration import Catalogued, Project
from serving.validation import RowReader
from tasks.changes import later
from tasks.checking import tiny_version
from tasks.client import asked, told

ROWS = 300
LOADED, BROKEN = discovery.load_all(())
NEVER_SEEN = "never seen before"
CLOSE = 1e-5  # of a probability, or of a value in the target's standard deviations: what float32 may differ by


@dataclass(frozen=True)
class Made:
    """A project's first rows, and the version that one epoch on them gives."""

    project: Project
    rows: Rows
    folder: Path
    predictor: Predictor


@pytest.fixture(scope="module", params=sorted(LOADED))
def rows_of(request: pytest.FixtureRequest) -> tuple[Project, Rows]:
    project = LOADED[request.param]
    if isinstance(project.source, Catalogued):
        request.getfixturevalue("datasets")
    return project, first_rows(project)


def first_rows(project: Project) -> Rows:
    parts: list[Rows] = []
    for batch in fetch(project.source):
        rows, misfits = coerce(batch.frame.reset_index(drop=True), project.schema)
        assert misfits == []
        parts.append(rows)
        if sum(map(length, parts)) >= ROWS:
            break
    rows = concatenate(parts)
    return take(rows, np.arange(min(ROWS, length(rows))))


@pytest.fixture(scope="module")
def made(rows_of: tuple[Project, Rows], tmp_path_factory: pytest.TempPathFactory) -> Made:
    project, rows = rows_of
    folder = tmp_path_factory.mktemp(project.name)
    predictor, _ = tiny_version(project, rows, folder)
    return Made(project, rows, folder / "model", predictor)


def close(made: Made) -> float:
    return CLOSE * max(1.0, float(made.predictor.encoder.unit[1].max()))


def weights_of(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_every_shipped_project_file_loads() -> None:
    assert BROKEN == {}
    assert {"digits", "electricity"} <= set(LOADED)


@pytest.mark.parametrize("name", sorted(LOADED))
def test_schema_guards_each_of_its_columns(name: str) -> None:
    schema = LOADED[name].schema
    made = guards(schema)
    assert made[0].type == "ExpectTableRowCountToBeBetween"
    assert [guard.column for guard in made if guard.type == "ExpectColumnValuesToBeUnique"] == [schema.key]
    assert {*schema.identifiers, *schema.columns} <= {str(guard.column).partition(".")[0] for guard in made}


def test_first_rows_of_the_source_meet_every_expectation(rows_of: tuple[Project, Rows]) -> None:
    project, rows = rows_of
    assert 50 <= length(rows) <= ROWS
    validation = validate(rows, project.schema, project.expectations)
    assert validation.refused is None
    assert validation.good.all(), validation.reasons


def test_answers_are_finite_and_probabilities_sum_to_one(made: Made) -> None:
    outputs = made.predictor.predict(made.rows)
    spec = made.predictor.encoder.spec
    width = len(made.predictor.levels) or spec.outputs - len(spec.ranked)
    assert outputs.values.shape == (length(made.rows), width)
    assert outputs.finite.all()
    if made.project.task == "classification":
        assert (outputs.values >= 0).all()
        assert np.allclose(outputs.values.sum(axis=1), 1, atol=1e-9)
        target = made.project.schema.columns[made.project.schema.target]
        assert isinstance(target, Category)
        assert set(outputs.predictions) <= set(target.levels)


def test_answers_keep_the_order_of_the_rows(made: Made) -> None:
    shuffle = np.random.default_rng(1).permutation(length(made.rows))
    straight, shuffled = made.predictor.predict(made.rows), made.predictor.predict(take(made.rows, shuffle))
    assert np.abs(shuffled.values - straight.values[shuffle]).max() < close(made)
    assert len(np.unique(straight.values[:, 0])) > length(made.rows) / 10  # rows do differ, or any order would do


def test_a_row_alone_is_answered_as_in_a_batch(made: Made) -> None:
    together = made.predictor.predict(made.rows).values
    for i in range(0, length(made.rows), 30):
        alone = made.predictor.predict(take(made.rows, np.array([i]))).values
        assert np.abs(alone[0] - together[i]).max() < close(made)


def test_what_the_log_keeps_of_a_row_gives_the_same_answer(made: Made) -> None:
    schema = made.project.schema
    kept = unpack_rows(schema, pack_all(schema, made.rows))
    assert (made.predictor.predict(kept).values == made.predictor.predict(made.rows).values).all()


def test_strange_values_are_answered_and_disturb_no_other_row(made: Made) -> None:
    usual = made.predictor.predict(made.rows).values
    for name, column in made.project.schema.features.items():
        for strange in strange_values(column):
            rows = {**made.rows, name: made.rows[name].copy()}
            rows[name][0] = strange
            found = made.predictor.predict(rows).values
            assert np.isfinite(found).all(), (name, strange)
            assert np.abs(found[1:] - usual[1:]).max() < close(made), (name, strange)


def strange_values(column: Column) -> list[object]:
    if isinstance(column, Image):
        return [0, column.high]  # all dark, all bright
    if isinstance(column, Category | Id):
        return [None, NEVER_SEEN]
    if isinstance(column, Text):
        return [NEVER_SEEN, "\N{SNOWMAN}" * column.longest]
    if isinstance(column, Audio):
        return [0, -32768]  # silence, and all it can't hold
    if isinstance(column, Series):
        return [1e30, -1e30, *([float("nan")] if column.nullable else [])]
    return [float("nan"), 1e30, -1e30]


def test_what_is_watched_has_the_columns_it_says(made: Made) -> None:
    observed = made.predictor.observe(made.rows, made.predictor.predict(made.rows))
    assert set(observed) == set(made.predictor.monitored)
    assert {len(values) for values in observed.values()} == {length(made.rows)}


def test_a_version_reads_back_equal_wherever_it_lies(made: Made, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(made.folder, moved)
    again = read_version(moved, features=made.project.features)
    assert again.schema == made.project.schema
    assert (again.predict(made.rows).values == made.predictor.predict(made.rows).values).all()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(made: Made, tmp_path: Path) -> None:
    other = dataclasses.replace(made.project.training, seed=made.project.training.seed + 1)
    for name, training in (("same", made.project.training), ("other", other)):
        folder = tmp_path / name
        folder.mkdir()
        tiny_version(dataclasses.replace(made.project, training=training), made.rows, folder)
    assert weights_of(tmp_path / "same" / "model") == weights_of(made.folder)
    assert weights_of(tmp_path / "other" / "model") != weights_of(made.folder)


@pytest.mark.parametrize("name", sorted(name for name, project in LOADED.items() if project.changes))
def test_every_declared_change_gives_rows_that_the_service_takes(name: str, datasets: Path) -> None:
    assert datasets.is_dir()
    schema = LOADED[name].schema
    for change in LOADED[name].changes:
        rows = later(LOADED[name], change)
        first = take(rows, np.arange(min(20, length(rows))))
        reader = RowReader(schema)
        read = reader.columns(reader.read(asked(schema, first), 20))
        assert (read[schema.key] == first[schema.key]).all()
        assert [one["id"] for one in told(schema, first)] == first[schema.key].tolist()
