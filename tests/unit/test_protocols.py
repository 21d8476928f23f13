from datetime import timedelta

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneOut, TimeSeriesSplit

from data.errors import BadDeclaration, TooFewRows
from data.schema import Rows
from models.declarations import Evaluation
from projects.declaration import Category, Labels, Model, Number, Project, Schema
from tasks.preparation import roles
from tasks.protocols import Fold, deal

DAY = np.timedelta64(1, "D")


def project(**changes: object) -> Project:
    schema = {
        "columns": {"site": Category(levels=("a", "b", "c")), "state": Category(levels=("well", "sick"))},
        "target": "state",
        "key": "id",
        "time": "at",
        "entity": "patient",
    }
    given = {
        "name": "clinic",
        "task": "classification",
        "schema": Schema(**{**schema, **changes.pop("schema", {})}),  # type: ignore[dict-item]
        "source": list,
        "model": Model(network="mlp"),
        "evaluation": Evaluation(exchangeable=True, judge=0.25),
    }
    return Project(**{**given, **changes})  # type: ignore[arg-type]


def visits(count: int = 120, each: int = 2) -> Rows:
    rng = np.random.default_rng(0)
    return {
        "id": np.array([f"v{n}" for n in range(count)], dtype=object),
        "patient": np.array([f"p{n // each}" for n in range(count)], dtype=object),
        "at": np.datetime64("2026-01-01", "us") + np.arange(count) * DAY,
        "site": rng.choice(["a", "b", "c"], count).astype(object),
        "state": np.where(np.arange(count) % 5 == 0, "sick", "well").astype(object),
    }


def sides(folds: list[Fold]) -> list[tuple[set[int], set[int]]]:
    return [(set(fold.train.tolist()), set(fold.test.tolist())) for fold in folds]


@pytest.mark.parametrize(
    "protocol", ["10-fold", "leave-one-out", "by-group", "by-site", "stratified-holdout", "holdout"]
)
def test_no_entity_stands_on_both_sides(protocol: str) -> None:
    rows = visits()
    for fold in deal(protocol, project(), rows, 0) if protocol != "by-site" else []:
        assert not set(rows["patient"][fold.train]) & set(rows["patient"][fold.test])
    for train, test in sides(deal(protocol, project(), rows, 0)):
        assert train
        assert test
        assert not train & test


@pytest.mark.parametrize("protocol", ["10-fold", "leave-one-out", "by-group", "by-site"])
def test_each_row_is_asked_about_once(protocol: str) -> None:
    asked = np.concatenate([fold.test for fold in deal(protocol, project(), visits(), 0)])
    assert sorted(asked.tolist()) == list(range(120))


def test_folds_are_alike_in_their_targets_and_differ_by_seed() -> None:
    rows, one = visits(200, each=1), project()
    folds = deal("5-fold", one, rows, 0)
    assert len(folds) == 5
    assert [int((rows["state"][fold.test] == "sick").sum()) for fold in folds] == [8] * 5
    assert sides(deal("5-fold", one, rows, 0)) == sides(folds)
    assert sides(deal("5-fold", one, rows, 1)) != sides(folds)
    [held] = deal("stratified-holdout", one, rows, 0)
    assert (len(held.test), int((rows["state"][held.test] == "sick").sum())) == (50, 10)


def test_leave_one_out_is_scikit_learns_where_each_row_is_an_entity() -> None:
    rows = visits(30, each=1)
    found = {frozenset(test) for _, test in sides(deal("leave-one-out", project(), rows, 0))}
    assert found == {frozenset(test.tolist()) for _, test in LeaveOneOut().split(rows["id"])}


def test_rolling_origins_are_scikit_learns_where_labels_come_at_once() -> None:
    rows = visits(140, each=1)
    found = sides(deal("rolling-6", project(), rows, 0))
    assert found == [(set(a.tolist()), set(b.tolist())) for a, b in TimeSeriesSplit(6).split(rows["id"])]


def test_what_was_not_known_when_a_stretch_began_teaches_nothing() -> None:
    rows, late = visits(140, each=1), project(labels=Labels(delay=timedelta(days=7)))
    for protocol in ("rolling-6", "time-split"):
        for fold in deal(protocol, late, rows, 0):
            assert rows["at"][fold.train].max() < rows["at"][fold.test].min() - 7 * DAY
    [split] = deal("time-split", late, rows, 0)
    assert len(split.test) == 35


def test_a_holdout_has_the_roles_by_which_a_version_is_judged() -> None:
    rows = visits()
    [fold] = deal("holdout", project(), rows, 0)
    role = roles(project(), rows)
    assert set(role[fold.train]) == {"train"}
    assert set(role[fold.test]) == {"judge"}


def test_numbers_are_stratified_by_quarters() -> None:
    rows = {**visits(200, each=1), "cost": np.random.default_rng(1).gamma(1.0, size=200)}
    priced = project(
        task="regression",
        schema={"columns": {"cost": Number()}, "target": "cost"},
        evaluation=Evaluation(metric="mae", exchangeable=True),
    )
    middle = np.median(rows["cost"])
    for fold in deal("10-fold", priced, rows, 0):
        assert (rows["cost"][fold.test] < middle).sum() == 10


def test_what_can_not_be_dealt_is_an_error_that_says_what_can() -> None:
    rows, timeless = visits(), project(schema={"time": None, "entity": None})
    with pytest.raises(BadDeclaration, match=r"no protocol 'tenfold'; known: holdout, .*<folds>-fold"):
        deal("tenfold", project(), rows, 0)
    with pytest.raises(BadDeclaration, match="has no time column"):
        deal("rolling-6", timeless, rows, 0)
    with pytest.raises(BadDeclaration, match="name it in the schema, or a column, as by-<column>"):
        deal("by-group", timeless, rows, 0)
    with pytest.raises(BadDeclaration, match="by-ward: no category 'ward'; known: site, state"):
        deal("by-ward", project(), rows, 0)
    with pytest.raises(TooFewRows, match="for 10 folds"):
        deal("10-fold", project(), visits(8), 0)
    with pytest.raises(BadDeclaration, match="no protocol 'loo'"):
        Evaluation(protocols=("loo",))
