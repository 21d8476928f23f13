"""What a champion learned from is known by its rows, though its table, its columns and its roles change around it."""

import hashlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from loop_parts import PLUMS, Orchard

from data.schema import Rows, length
from data.versions import DataRegistry, Snapshot
from models.predictor import read_version
from monitoring import stored_reference
from monitoring.records import WindowKey
from monitoring.verdicts import judge_data
from tasks import comparison, evaluation, fitting, plans, preparation, promotion, tournament
from tasks.ingestion import ingest, write_snapshot
from tasks.referencing import build_reference
from tasks.rejudging import deal_again
from tasks.role_files import read_role
from tasks.settings import Settings
from tasks.snapshot_rows import TEXT, among, gather

ORDERED = PLUMS.replace("exchangeable=True, ", "")
DATED = (
    PLUMS.replace("Category, Evaluation", "Batch, Category, Evaluation")
    .replace("return pd.DataFrame({{", "whole = pd.DataFrame({{")
    .replace('"ripe": ripe}})', '"ripe": ripe}})\n    return [Batch("2026-01-01", whole)]')
)
SIZE, SUGAR, END = '"size": Number(low=-9.0, high=9.0),', '"sugar": sugar,', '"ripe": ripe})'
GROWN = (
    ("return pd.DataFrame({", "whole = pd.DataFrame({"),
    (END, END + '\n    return pd.concat([whole, whole.iloc[:20].assign(plum=[f"n{n}" for n in range(20)])])'),
)
WIND = ((SIZE, SIZE + ' "wind": Number(),'), (SUGAR, SUGAR + ' "wind": size,'))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def planted(home: Path, url: str, text: str = PLUMS) -> Orchard:
    """A home with one training of a project."""
    name = f"plums_{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"  # the registry is that of all tests
    (home / f"{name}.py").write_text(text.format(name=name))
    settings = Settings(home=home, projects=str(home), mlflow_tracking_uri=url)
    shared = DataRegistry(home / "registry", str(home / "remote"))
    orchard = Orchard(settings, name=name, trained=home / "one", shared=shared)
    trained_again(orchard, home / "one")
    return orchard


def trained_again(orchard: Orchard, folder: Path) -> None:
    """Ingest what the source says now, and train on it."""
    ingest(orchard, orchard.name)
    write_snapshot(folder / "snapshot.json", orchard.batches.snapshot(orchard.name))
    preparation.prepare(orchard.declared, orchard.batches, folder)
    fitting.fit(orchard.declared, folder, device="cpu", progress=lambda *_: None)
    evaluation.evaluate(orchard.declared, folder)
    orchard.trained = folder


def learned(orchard: Orchard) -> set[str]:
    """The keys of the rows that the newest training learned from."""
    return set(read_role(orchard.trained, orchard.declared.schema, "train")["plum"])


def keys(rows: Rows) -> set[str]:
    return set(rows["plum"].astype(str).tolist())


def test_rows_of_a_table_that_grew_are_those_that_the_champion_knew(
    home: Path, mlflow_url: str, tmp_path: Path
) -> None:
    orchard = planted(home, mlflow_url)
    version, before = orchard.promote(), learned(orchard)
    orchard.declare(*GROWN)
    trained_again(orchard, tmp_path / "two")
    held = comparison.held_rows(orchard, orchard.declared, orchard.trained, orchard.serving)
    assert held.known.sum() >= len(held.known) - 20
    assert not before & keys(held.fresh)
    judgement = comparison.judge_version(orchard, orchard.declared, orchard.trained)
    assert {gate.name for gate in judgement.results} >= {"better", "not_worse"}
    rows = gather(
        orchard.batches, orchard.batches.snapshot(orchard.name), orchard.declared.schema, tmp_path / "rows"
    ).known
    plan = plans.Plan(parent=plans.Parent(version, {}))
    found, unfair = tournament.contested(orchard, orchard.declared, plan, rows)
    assert unfair is not None  # of 20 new rows too few select
    assert (found == "judge").any()


@pytest.mark.parametrize("text", [PLUMS, ORDERED])
def test_a_column_that_rows_need_is_added_while_a_champion_serves(
    text: str, home: Path, mlflow_url: str, tmp_path: Path
) -> None:
    orchard = planted(home, mlflow_url, text)
    version, before = orchard.register(), learned(orchard)
    orchard.declare(*WIND)
    trained_again(orchard, tmp_path / "two")
    promotion.promote(orchard, orchard.name, version, actor="ada", reason="it has waited since before the column")
    held = comparison.held_rows(orchard, orchard.declared, orchard.trained, orchard.serving)
    assert held.known.all()
    assert length(held.fresh) > 60
    assert not before & keys(held.fresh)
    judgement = comparison.judge_version(orchard, orchard.declared, orchard.trained)
    assert "schema_incompatible" in {gate.name for gate in judgement.results}


AT = 'pd.to_datetime("2026-01-01") + pd.to_timedelta('
TIMED = ORDERED.replace('key="plum",', 'key="plum", time="at",').replace(
    SUGAR, SUGAR + f' "at": {AT}np.arange(320), "h"),'
)
SHARED = "evaluation=Evaluation("


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (
            ORDERED,
            [('key="plum",', 'key="plum", time="at",'), (SUGAR, SUGAR + f'"at": {AT}noise.permutation(320), "h"),')],
        ),
        (
            PLUMS,
            [
                ('key="plum",', 'key="plum", entity="tree",'),
                (SUGAR, SUGAR + '"tree": [f"t{n // 2}" for n in range(320)],'),
            ],
        ),
        (TIMED, [("np.arange(320)", "np.where(np.arange(320) < 60, 400, 0) + np.arange(320)")]),
        (PLUMS, [("judge=0.25", "judge=0.5"), *GROWN]),
        (ORDERED, [(SHARED, SHARED + "exchangeable=True, ")]),
    ],
    ids=["a time", "an entity", "rows touched since", "a larger share", "rows called exchangeable"],
)
def test_no_row_that_the_champion_learned_judges_though_the_roles_are_dealt_anew(
    text: str, changes: list[tuple[str, str]], home: Path, mlflow_url: str, tmp_path: Path
) -> None:
    orchard = planted(home, mlflow_url, text)
    orchard.promote()
    before, snapshot = learned(orchard), Snapshot.from_json((orchard.trained / "snapshot.json").read_text())
    own = orchard.declared
    orchard.declare(*changes)
    trained_again(orchard, tmp_path / "two")
    assert before & keys(read_role(orchard.trained, orchard.declared.schema, "judge"))
    held = comparison.held_rows(orchard, orchard.declared, orchard.trained, orchard.serving)
    assert length(held.fresh) >= 10
    assert not before & keys(held.fresh)
    (tmp_path / "anew").mkdir()
    deal_again(orchard, own, tmp_path / "anew", snapshot)
    assert not before & keys(read_role(tmp_path / "anew", own.schema, "judge"))


def test_a_champion_whose_code_is_another_today_hinders_no_judging(home: Path, mlflow_url: str, tmp_path: Path) -> None:
    derived = PLUMS.replace("Evaluation, Gates", "Evaluation, Features, Gates").replace(
        "project = Project(",
        'def ratio(rows):\n    return {{"ratio": rows["size"] - rows["sugar"]}}\n\n\n'
        'project = Project(\n    features=Features(columns={{"ratio": Number()}}, compute=ratio),',
    )
    orchard = planted(home, mlflow_url, derived)
    orchard.promote()
    orchard.declare(*WIND, ('rows["size"] - rows["sugar"]', 'rows["wind"] - rows["sugar"]'))
    trained_again(orchard, tmp_path / "two")
    judgement = comparison.judge_version(orchard, orchard.declared, orchard.trained)
    assert judgement.champion is not None
    assert judgement.verdict in {"passed", "kept", "refused", "question"}


def test_a_million_keys_are_looked_for_among_a_million() -> None:
    known = np.array([f"row-{n}" for n in range(0, 2_000_000, 2)], dtype=TEXT)
    found = among(np.array([f"row-{n}" for n in range(1_000_000)], dtype=object), known)
    assert found.tolist() == [True, False] * 500_000


def test_what_a_version_learned_from_does_not_judge_it_anew(home: Path, mlflow_url: str, tmp_path: Path) -> None:
    orchard = planted(home, mlflow_url, ORDERED)
    snapshot = Snapshot.from_json((orchard.trained / "snapshot.json").read_text())
    judged = keys(read_role(orchard.trained, orchard.declared.schema, "judge"))
    orchard.declare(*GROWN)
    ingest(orchard, orchard.name)
    deal_again(orchard, orchard.declared, tmp_path, snapshot)
    assert keys(read_role(tmp_path, orchard.declared.schema, "judge")) == judged | {f"n{n}" for n in range(20)}


@pytest.mark.parametrize("changes", [(), GROWN], ids=["the same rows", "more rows"])
@pytest.mark.parametrize("text", [PLUMS, ORDERED, TIMED], ids=["exchangeable", "in order", "in time"])
def test_rows_without_what_a_version_learned_with_do_not_judge_it_anew(
    text: str, changes: tuple[tuple[str, str], ...], home: Path, mlflow_url: str, tmp_path: Path
) -> None:
    orchard = planted(
        home,
        mlflow_url,
        text.replace(SIZE, SIZE + ' "wind": Number(nullable=True),').replace(SUGAR, SUGAR + ' "wind": size,'),
    )
    own, snapshot = orchard.declared, Snapshot.from_json((orchard.trained / "snapshot.json").read_text())
    judged = keys(read_role(orchard.trained, own.schema, "judge"))
    orchard.declare((' "wind": Number(nullable=True),', ""), (' "wind": size,', ""), *changes)
    ingest(orchard, orchard.name)
    deal_again(orchard, own, tmp_path, snapshot)
    rows = read_role(tmp_path, own.schema, "judge")
    assert keys(rows) == judged
    assert np.isfinite(rows["wind"]).all()


@pytest.mark.parametrize("new", [200, 80])
def test_rows_from_before_a_column_make_no_drift_of_those_since(
    new: int, home: Path, mlflow_url: str, tmp_path: Path
) -> None:
    orchard = planted(home, mlflow_url, DATED)
    orchard.declare(
        (SIZE, SIZE + ' "wind": Number(nullable=True),'),
        (
            'return [Batch("2026-01-01", whole)]',
            f'new = pd.concat([whole] * 2)[:{new}].assign(plum=[f"q{{n}}" for n in range({new})])\n'
            f'    return [Batch("2026-01-02", new.assign(wind=noise.normal(size={new})))]',
        ),
    )
    trained_again(orchard, tmp_path / "two")
    predictor, snapshot = read_version(orchard.trained / "model"), orchard.batches.snapshot(orchard.name)
    payload, _ = build_reference(orchard, orchard.declared, predictor, snapshot, tmp_path / "scratch")
    reference, noise, now = stored_reference.from_bytes(payload), np.random.default_rng(99), orchard.now()
    assert ("wind" in reference.watched) == (new == 200)
    assert ("wind not watched yet" in reference.origin) == (new == 80)
    outcomes = []
    for window in range(6):
        rows: Rows = {name: noise.normal(size=40) for name in ("size", "sugar", "wind")}
        rows["plum"] = np.array([f"w{n}" for n in range(40)], dtype=object)
        seen = predictor.observe(rows, predictor.predict(rows))
        key = WindowKey(orchard.name, 1, window, now, now + timedelta(hours=1))
        outcomes.append(judge_data(reference, seen, orchard.declared.monitors, key).outcome)
    assert outcomes.count("drift") <= 1
