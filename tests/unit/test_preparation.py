from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import batches as files
from data.batches import write_batch
from data.errors import BadDeclaration, Corrupt, OneClass, TooFewRows, WrittenBefore
from data.schema import Anomaly, Audio, Column, Id, Image, Rows, Series, length
from data.stored import Stored
from projects.declaration import (
    Category,
    Evaluation,
    Gates,
    Labels,
    Model,
    Monitors,
    Number,
    Project,
    Schema,
    Training,
    Window,
)
from tasks import snapshot_rows
from tasks.evaluation import baseline_values
from tasks.plans import Plan
from tasks.preparation import deal, place, roles, roles_by_entity
from tasks.referencing import newest, roles_of
from tasks.rejudging import came_since
from tasks.role_files import labels, most_held, read_role, stored_role
from tasks.snapshot_rows import BATCH, SnapshotRows


def project(**changed: Any) -> Project:
    schema = Schema(
        columns={"x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id", time="at", entity="owner"
    )
    said: dict[str, Any] = {
        "name": "p",
        "task": "classification",
        "schema": schema,
        "source": list,
        "model": Model(network="mlp"),
    }
    return Project(**{**said, **changed})


def rows(count: int, start: str = "2026-01-01") -> Rows:
    return {
        "id": np.array([f"r{i}" for i in range(count)], dtype=object),
        "owner": np.array([f"o{i // 4}" for i in range(count)], dtype=object),
        "at": np.datetime64(start, "us") + np.arange(count) * np.timedelta64(30, "m"),
        "x": np.zeros(count),
        "y": np.array(["a"] * count, dtype=object),
    }


def test_an_entity_keeps_its_role_whatever_else_arrives() -> None:
    exchangeable = project(evaluation=Evaluation(exchangeable=True))
    few, many = rows(400), rows(4000)
    before, after = roles(exchangeable, few), roles(exchangeable, many)
    assert (before == after[:400]).all()
    for owner in set(few["owner"]):
        assert len(set(before[few["owner"] == owner])) == 1


def test_shares_are_as_declared() -> None:
    found = roles_by_entity(np.array([f"e{i}" for i in range(20000)], dtype=object), judge=0.2, anchor=0.1)
    shares = {role: float((found == role).mean()) for role in ("train", "judge", "anchor")}
    assert shares == pytest.approx({"train": 0.7, "judge": 0.2, "anchor": 0.1}, abs=0.01)


def test_places_are_fixed_across_processes_and_releases() -> None:
    assert place("bundled-0001") == 0.2080259980025221


def test_by_time_the_newest_rows_judge_and_labels_unknown_then_are_embargoed() -> None:
    delayed = project(evaluation=Evaluation(judge=0.25, anchor=0.2), labels=Labels(delay=timedelta(days=1)))
    stream = rows(48 * 40)
    found = roles(delayed, stream)
    first = stream["at"][found == "judge"].min()
    assert (found[stream["at"] >= first] == "judge").all()
    learned = np.isin(found.astype(str), ["train", "anchor"])
    assert stream["at"][learned].max() < first - np.timedelta64(24, "h")
    assert (found == "").sum() == 48


def test_however_long_the_history_what_judges_stays_short_enough_to_learn_from_what_is_new() -> None:
    day, weekly = 48, Monitors(window=Window(span=timedelta(days=7)))

    def judging(days: int, monitors: Monitors | None = None, **share: Any) -> int:
        declared = project(evaluation=Evaluation(anchor=0.0, **share), **({"monitors": monitors} if monitors else {}))
        return int((roles(declared, rows(days * day)) == "judge").sum())

    assert judging(100) == 20 * day  # the share, while it is short
    assert judging(500) == judging(1000) == 28 * day + 1
    assert judging(500, judge_rows=60 * day) == 60 * day
    assert judging(500, weekly) == 8 * 7 * day + 1
    assert judging(500, Monitors(window=Window(rows=4 * day))) == 32 * day
    with pytest.raises(BadDeclaration, match="at least 1"):
        Evaluation(judge_rows=0)


def test_without_times_the_newest_rows_judge_and_none_is_embargoed() -> None:
    schema = replace(project().schema, time=None)
    by_count, late = Monitors(window=Window(rows=100)), Labels(delay=timedelta(1))
    delayed = project(schema=schema, evaluation=Evaluation(judge=0.25, anchor=0.2), labels=late, monitors=by_count)
    found = roles(delayed, rows(400))
    assert (found[300:] == "judge").all()
    assert set(found[:300]) == {"train", "anchor"}


def test_by_time_a_whole_day_is_either_anchor_or_not() -> None:
    found = roles(project(evaluation=Evaluation(judge=0.2, anchor=0.3)), stream := rows(48 * 40))
    days = stream["at"].astype("datetime64[D]")
    for day in set(days[found == "anchor"]):
        assert set(found[days == day]) <= {"anchor", "judge", ""}


@pytest.mark.parametrize("exchangeable", [True, False])
def test_anchor_rows_expire_by_the_newest_rows_time_and_are_never_learned_from(exchangeable: bool) -> None:
    stream, share = rows(48 * 40), {"judge": 0.2, "anchor": 0.3, "exchangeable": exchangeable}
    usual = roles(project(evaluation=Evaluation(**share)), stream)
    expiring = roles(project(evaluation=Evaluation(**share, anchor_days=20)), stream)
    old = stream["at"] < stream["at"].max() - np.timedelta64(20, "D")
    assert (expiring[old & (usual == "anchor")] == "").all()
    assert (old & (usual == "anchor")).any()
    rest = ~old | (usual != "anchor")
    assert (expiring[rest] == usual[rest]).all()
    with pytest.raises(BadDeclaration, match="time column"):
        project(evaluation=Evaluation(anchor_days=20), schema=replace(project().schema, time=None))
    with pytest.raises(BadDeclaration, match="at least 1"):
        Evaluation(anchor_days=0)


def test_slices_are_columns_that_there_are() -> None:
    assert project(gates=Gates(slices=("x",))).gates.slices == ("x",)
    with pytest.raises(BadDeclaration, match="no column 'y' to slice by"):
        project(gates=Gates(slices=("y",)))


def test_rows_that_came_since_judge_a_version_anew() -> None:
    stream = rows(48 * 40)
    stream[BATCH] = np.where(np.arange(48 * 40) < 900, "one", "two").astype(object)
    judges = {name: values[800:900] for name, values in stream.items()}

    def since(**changed: Any) -> np.ndarray:
        return came_since(project(**changed), stream, judges, stream["id"][:900])

    assert (since() == (np.arange(48 * 40) >= 800)).all()
    timeless = replace(project().schema, time=None)
    assert (since(schema=timeless) == (stream[BATCH] == "two")).all()
    exchangeable = Evaluation(exchangeable=True)
    assert (since(evaluation=exchangeable) == (roles(project(evaluation=exchangeable), stream) == "judge")).all()


def test_no_more_rows_that_came_since_judge_than_those_that_judge_any_version() -> None:
    stream = rows(9_000)
    judges = {name: values[800:900] for name, values in stream.items()}
    for schema in (project().schema, replace(project().schema, time=None)):
        tight = project(schema=schema, training=Training(resident=1))
        came = came_since(tight, stream, judges, stream["id"][:900])
        assert came.sum() == most_held(tight) // 4
        assert (came_since(project(schema=schema), stream, judges, stream["id"][:900])[came]).all()


def test_rows_of_one_class_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_batch(tmp_path / "b.parquet", rows(200), project().schema)
    found = np.array(["train"] * 150 + ["judge"] * 50, dtype=object)
    with pytest.raises(OneClass, match="train p know one class only, 'a'"):
        deal(project(), Plan(), SnapshotRows([tmp_path / "b.parquet"], project().schema), found, tmp_path, "hash")
    assert list((tmp_path / "prepared").iterdir()) == []


def landed(folder: Path, count: int = 400) -> list[Path]:
    """Batches that overlap in time and share keys; the names of later ones come later."""
    whole = {**rows(count), "x": np.random.default_rng(0).normal(size=count)}
    whole["y"] = np.where(whole["x"] > 0, "a", "b").astype(object)
    parts = {"one": np.arange(0, count, 2), "three": np.arange(0, count, 5), "two": np.arange(count)[::-1]}
    for name, which in parts.items():
        part = {column: values[which] for column, values in whole.items()}
        write_batch(folder / f"{name}.parquet", {**part, "x": part["x"] + len(name)}, project().schema)
    return sorted(folder.glob("*.parquet"))


def read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the rows were more than is read once."""
    monkeypatch.setattr(files, "GROUP", 2**12)
    monkeypatch.setattr(snapshot_rows, "WHOLE", 0)
    monkeypatch.setattr(snapshot_rows, "PIECE", 2)


@pytest.mark.parametrize("timed", [True, False])
def test_rows_that_are_read_piece_by_piece_are_those_that_are_read_at_once(
    timed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = project().schema if timed else replace(project().schema, time=None)
    small = SnapshotRows(landed(tmp_path), schema)
    at_once = small.all()
    read_again(monkeypatch)
    for path in landed(tmp_path):
        assert Stored(path, schema).groups > 3
    large = SnapshotRows(landed(tmp_path), schema)
    pieces = list(large.pieces(np.arange(len(large))))
    assert len(pieces) > 5
    assert len(at_once["id"]) == 400
    for name, values in at_once.items():
        assert np.array_equal(np.concatenate([piece[name] for piece in pieces]), values), name
        backwards = large.take(np.arange(len(large))[::-3])
        assert np.array_equal(backwards[name], values[::-3]), name
    assert set(at_once[BATCH]) == {"two"}  # as the last of the files has it
    assert length(large.take(np.arange(0))) == 0


@pytest.mark.parametrize("large", [True, False])
def test_a_column_that_was_of_another_kind_when_a_batch_came_is_refused(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[tuple[Column, Column, np.ndarray]] = [
        (Number(), Category(levels=("0", "1")), np.array([0.0, 1.0] * 20)),
        (Image(height=2, width=8), Image(height=4, width=4), np.zeros((40, 2, 8), np.uint8)),
        (Audio(rate=8), Image(height=4, width=4), np.zeros((40, 8), np.int16)),
    ]
    schema = project().schema
    if large:
        read_again(monkeypatch)
    for before, after, values in kinds:
        was, now = (replace(schema, columns={**schema.columns, "x": one}) for one in (before, after))
        write_batch(tmp_path / "one.parquet", {**rows(40), "x": values}, was)
        with pytest.raises(Corrupt, match=r"x in one\.parquet"):
            SnapshotRows([tmp_path / "one.parquet"], now).take(np.arange(5))
        assert len(SnapshotRows([tmp_path / "one.parquet"], was).take(np.arange(5))["x"]) == 5


def grown(**columns: Column) -> Schema:
    """The schema with more columns than its batches were written with."""
    return replace(project().schema, columns={**project().schema.columns, **columns})


@pytest.mark.parametrize("large", [True, False])
def test_rows_from_before_a_column_may_be_without_it_where_it_may_be_null(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        read_again(monkeypatch)
    schema = grown(z=Number(nullable=True), kind=Category(levels=("u",), nullable=True))
    older, newer = rows(300), rows(400)
    new = {"z": np.arange(400.0), "kind": np.array(["u"] * 400, dtype=object)}
    write_batch(tmp_path / "1.parquet", older, project().schema)
    write_batch(tmp_path / "2.parquet", {n: values[250:] for n, values in (newer | new).items()}, schema)
    stored = SnapshotRows(sorted(tmp_path.glob("*.parquet")), schema)
    found = stored.all()
    assert found["id"].tolist() == newer["id"].tolist()
    assert np.array_equal(found["z"], np.where(np.arange(400) < 250, np.nan, np.arange(400)), equal_nan=True)
    assert found["kind"].tolist() == [None] * 250 + ["u"] * 150
    assert len(stored.sample(np.arange(400), 40)["z"]) >= 40
    some = np.arange(0, 400, 3)[::-1]
    assert np.array_equal(stored.take(some)["z"], found["z"][some], equal_nan=True)


@pytest.mark.parametrize("large", [True, False])
def test_a_batch_from_before_a_column_is_in_the_way_until_its_rows_came_again(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        read_again(monkeypatch)
    schema = replace(grown(z=Number(), seen=Image(height=2, width=2)), entity="shop", time="moment")
    write_batch(tmp_path / "frame-000001-b.parquet", rows(40), project().schema)
    with pytest.raises(WrittenBefore, match=r"'frame-000001-b' came .* 'moment', 'seen', 'shop', 'z': ingest .* it$"):
        SnapshotRows([tmp_path / "frame-000001-b.parquet"], schema)
    whole = rows(41)
    again = {
        **{name: whole[name] for name in ("id", "x", "y")},
        "z": np.arange(41.0),
        "seen": np.ones((41, 2, 2), np.uint8),
        "shop": whole["owner"],
        "moment": whole["at"],
    }
    newer = tmp_path / "frame-000002-a.parquet"
    write_batch(newer, {name: values[1:] for name, values in again.items()}, schema)
    with pytest.raises(WrittenBefore):
        SnapshotRows(sorted(tmp_path.glob("*.parquet")), schema)
    write_batch(newer, again, schema)
    found = SnapshotRows(sorted(tmp_path.glob("*.parquet")), schema).all()
    assert found["z"].tolist() == list(range(41))
    assert found["seen"].all()


def test_what_only_judging_rows_have_a_value_of_is_not_learned(tmp_path: Path) -> None:
    schema = grown(z=Number(nullable=True))
    declared, given = project(schema=schema), rows(200)
    given["y"][::2] = "b"
    write_batch(tmp_path / "1.parquet", {name: values[:150] for name, values in given.items()}, project().schema)
    fresh = {**given, "z": np.arange(200.0)}
    write_batch(tmp_path / "2.parquet", {name: values[150:] for name, values in fresh.items()}, schema)
    stored = SnapshotRows(sorted(tmp_path.glob("*.parquet")), schema)
    found = np.array(["train"] * 160 + ["judge"] * 40, dtype=object)
    with pytest.raises(TooFewRows, match="with a value in 'z', a newer column: 10 rows"):
        deal(declared, Plan(), stored, found, tmp_path, "hash")
    found[:180] = "train"
    assert deal(declared, Plan(), stored, found, tmp_path, "hash")["train"] == 180


def test_a_sample_is_spread_evenly_and_has_each_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_again(monkeypatch)
    schema = Schema(columns={"kind": Id(), "x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id")
    kinds = np.array([f"rare-{at}" if at % 100 == 37 else "usual" for at in range(1000)], dtype=object)
    given = {**rows(1000), "kind": kinds}
    write_batch(tmp_path / "one.parquet", {name: values[:500] for name, values in given.items()}, schema)
    write_batch(tmp_path / "two.parquet", {name: values[500:] for name, values in given.items()}, schema)
    stored = SnapshotRows(sorted(tmp_path.glob("*.parquet")), schema)
    some = stored.sample(np.arange(100, 1000), 90)
    assert set(some["kind"]) == {"usual", *(f"rare-{at}" for at in range(137, 1000, 100))}
    assert 90 <= length(some) <= 90 + 10
    assert "r37" not in some["id"]  # it does not train
    assert some["id"].tolist()[0] == "r100"
    assert length(stored.sample(np.arange(90), 90)) == 90


def test_roles_are_the_same_from_a_file_that_is_dealt_out_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batches").mkdir()
    folders = [tmp_path / "small", tmp_path / "large"]
    declared = project()
    for folder in folders:
        if folder.name == "large":
            read_again(monkeypatch)
        stored = SnapshotRows(landed(tmp_path / "batches", 4000), declared.schema)
        counts = deal(declared, Plan(), stored, roles(declared, stored.known), folder, "hash")
        assert counts == {role: length(read_role(folder, declared.schema, role)) for role in counts}
        assert min(counts.values()) > 100
    sizes = np.diff(stored_role(folders[1], declared.schema, "train").starts)
    assert len(sizes) > 10
    assert len(set(sizes[:-1].tolist())) == 1  # a piece leaves no small rest, of which a batch would be made
    for name in ("summary.json", "encoder.json"):
        small, large = ((folder / "prepared" / name).read_text() for folder in folders)
        assert small == large
    for role in ("train", "judge", "anchor"):
        small, large = (read_role(folder, declared.schema, role) for folder in folders)
        assert all(np.array_equal(small[name], large[name]) for name in small)


def test_more_rows_than_memory_holds_do_not_judge_and_are_never_learned_from() -> None:
    tight = Training(resident=1)  # 1,000,000 bytes: 5,000 rows of 200, of which a quarter may judge
    for changed in ({"exchangeable": True}, {"judge_rows": 10_000}):
        usual = project(evaluation=Evaluation(judge=0.3, anchor=0.3, **changed))
        known = rows(20_000)
        free, bound = roles(usual, known), roles(replace(usual, training=tight), known)
        most = most_held(replace(usual, training=tight)) // 4
        for role in ("judge", "anchor"):
            assert (free == role).sum() > most
            assert most - 10 <= (bound == role).sum() <= most + 4
            assert (free[bound == role] == role).all()
        assert ((bound == "train") == (free == "train")).all()
        fewer = {name: values[:15_000] for name, values in known.items()}
        before = roles(replace(usual, training=tight), fewer)
        if changed == {"exchangeable": True}:
            assert np.flatnonzero(bound == "judge").tolist() == np.flatnonzero(free == "judge")[-most:].tolist()
            assert (before[bound[:15_000] == "anchor"] == "anchor").all()  # what stayed before is the last to go


def test_no_more_rows_are_referred_to_than_may_judge_and_those_in_time_order_are_whole_windows() -> None:
    known = rows(20_000)
    for exchangeable, judge in ((True, 0.2), (False, 0.01), (False, 0.4)):
        share = Evaluation(exchangeable=exchangeable, judge=judge, anchor=0.0, judge_rows=10_000)
        tight = project(training=Training(resident=1), evaluation=share, monitors=Monitors(window=Window(rows=2000)))
        which = newest(tight, known, roles_of(tight, known))
        assert len(which) == most_held(tight) // 4
        if not exchangeable:
            assert which.tolist() == list(range(20_000 - len(which), 20_000))


def test_an_entity_of_more_rows_than_may_judge_does_not_judge_with_all_of_them() -> None:
    tight = project(training=Training(resident=1), evaluation=Evaluation(exchangeable=True, judge=0.2, anchor=0.7))
    known, most = rows(20_000), most_held(tight) // 4
    known["owner"] = np.array(["o1"] * 15_000 + ["o2"] * 5_000, dtype=object)
    anchored = np.flatnonzero(roles(tight, known) == "anchor")
    assert anchored.tolist() == list(range(anchored[0], anchored[0] + most))


def test_rows_whose_label_judges_an_anomaly_are_the_last_to_be_spared() -> None:
    schema = replace(project().schema, columns={"x": Series(length=2, channels=("a",)), "y": Anomaly()})
    known = rows(20_000)
    known["y"] = np.array(["true" if at % 50 == 0 else None for at in range(20_000)], dtype=object)
    share = {"judge": 0.3, "judge_rows": 10_000, "anchor": 0.3}
    for exchangeable in (True, False):
        by_labels = project(
            task="anomaly", schema=schema, evaluation=Evaluation(metric="roc_auc", exchangeable=exchangeable, **share)
        )
        free, bound = (roles(replace(by_labels, training=Training(resident=held)), known) for held in (1024, 1))
        for role in ("judge", "anchor"):
            assert (bound == role).sum() < (free == role).sum() / 3
            told = (free == role) & (known["y"] == "true")
            assert 50 < told.sum() == ((bound == role) & told).sum()


@pytest.mark.parametrize("kind", ["class", "number"])
def test_the_trivial_rule_knows_labels_that_arrived_while_their_rows_had_no_role(kind: str, tmp_path: Path) -> None:
    day = 48
    stream = rows(40 * day)
    target = Number() if kind == "number" else Category(levels=("a", "b"))
    schema = replace(project().schema, columns={"x": Number(), "y": target})
    late = stream["at"] >= stream["at"][29 * day]  # the world turns within the embargo
    stream["y"] = np.where(late, 5.0, 1.0) if kind == "number" else np.where(late, "b", "a").astype(object)
    stream["y"][:day:2] = 5.0 if kind == "number" else "b"
    stream["x"] = np.arange(40.0 * day)
    task, metric = ("regression", "mae") if kind == "number" else ("classification", "accuracy")
    declared = project(
        schema=schema,
        task=task,
        labels=Labels(delay=timedelta(days=3)),
        evaluation=Evaluation(metric=metric, judge=0.2, anchor=0.0),
    )
    write_batch(tmp_path / "one.parquet", stream, schema)
    stored = SnapshotRows([tmp_path / "one.parquet"], schema)
    found = roles(declared, stored.known)
    assert (found[31 * day : 32 * day] == "").all()
    deal(declared, Plan(), stored, found, tmp_path, "hash")
    train, judges = (read_role(tmp_path, schema, role) for role in ("train", "judge"))
    assert labels(declared, tmp_path, train)["at"].tolist() == stream["at"].tolist()
    levels = ("a", "b") if kind == "class" else ()
    answers = baseline_values(declared, labels(declared, tmp_path, train), judges, levels)
    said = answers[:, 0] if kind == "number" else np.array(levels)[answers.argmax(axis=1)]
    assert set(said) == {5.0 if kind == "number" else "b"}  # since 3 days before the first row that judges
    newer = {name: values[-1:].copy() for name, values in judges.items()}
    newer["at"] = newer["at"] + np.timedelta64(9, "D")  # came after the snapshot
    assert len(baseline_values(declared, labels(declared, tmp_path, train), newer, levels)) == 1
    assert (
        labels(replace(declared, evaluation=replace(declared.evaluation, exchangeable=True)), tmp_path, train) is train
    )
