"""Ids and lists: learned from rows, exported, listed through the real service, judged against what people liked."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from serving_parts import Service, broken, point, serving

from data.columns.id import LONGEST
from data.errors import BadDeclaration
from data.packing import unpack_rows
from data.schema import Id, Number, Ranking, Rows, Schema, concatenate, schema_from_json, take
from data.versions import Snapshot
from models.declarations import Features, Model, Training
from models.encoding import Encoder
from models.folder import LARGEST, PREDICTOR
from models.learners import learned_answers, neighbours
from models.lists import NDCG, RECALL, Asked, Rated, first, scores
from models.metrics import value
from models.networks import build
from models.predictor import Predictor, read_version
from models.torch_session import Inside
from models.training import fit
from models.transforms import MOST_IDS
from models.writing import make_version
from monitoring.answers import answers_of
from monitoring.performance import losses_in
from monitoring.store import open_store
from monitoring.stored_reference import from_bytes
from tasks import evaluation, fitting, preparation, recipe_report, role_files
from tasks.comparison import judge_version
from tasks.ingestion import ingest, write_snapshot
from tasks.protocols import deal
from tasks.recipes import evaluate
from tasks.referencing import build_reference
from tasks.resources import Resources
from tasks.settings import Settings

SHOP = Schema(
    columns={"user": Id(), "item": Id(unknown="refuse"), "stars": Number(low=1, high=5)},
    target="stars",
    key="key",
    time="at",
    ranking=Ranking(user="user", item="item", liked=4.0),
)
USERS, ITEMS, GLUTTON = 40, 30, "u39"  # who has rated everything


def ratings() -> Rows:
    """Two tastes: users rate items of their own kind high, and rate them more often."""
    generator = np.random.default_rng(0)
    rated = [
        (user, item)
        for user in range(USERS)
        for item in range(ITEMS)
        if user == USERS - 1 or generator.random() < (0.6 if user % 2 == item % 2 else 0.15)
    ]
    users, items = np.array(rated).T
    stars = np.clip(np.where(users % 2 == items % 2, 5, 2) - generator.integers(0, 2, len(rated)), 1, 5)
    return {
        "key": np.array([f"{user}-{item}" for user, item in rated], dtype=object),
        "at": np.datetime64("2026-01-01", "us") + generator.permutation(len(rated)).astype("timedelta64[h]"),
        "user": np.array([f"u{user}" for user in users], dtype=object),
        "item": np.array([f"i{item:02d}" for item in items], dtype=object),
        "stars": stars.astype(float),
    }


def held(rows: Rows) -> np.ndarray:
    return np.random.default_rng(1).random(len(rows["key"])) < 0.25


TRAINING = Training(epochs=25, batch_size=16, learning_rate=0.02, optimizer="adamw", weight_decay=0.05, patience=25)


@pytest.fixture(scope="module", params=["factors", "neural_factors"])
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Path]:
    """A version as the loop makes it, which knows what was rated."""
    folder, rows = tmp_path_factory.mktemp("shop"), ratings()
    train = take(rows, ~held(rows))
    encoder, model = Encoder.fit(SHOP, None, train), Model(network=request.param, options={"width": 4})
    trained = fit(model, TRAINING, encoder, train, workdir=folder / "work", progress=lambda _: None, threads=1)
    (folder / "model").mkdir()
    made = make_version(
        folder / "model",
        model=model,
        network=trained.network,
        encoder=encoder,
        rows=train,
        project=None,
        rated=Rated.of(encoder, rows),
    )
    assert not made.worker
    return read_version(folder / "model", manifest=made.manifest), folder


def test_what_is_learned_of_ids_rates_and_lists_better_than_rules_do(learned: tuple[Predictor, Path]) -> None:
    predictor, _ = learned
    rows = ratings()
    train, fresh = take(rows, ~held(rows)), take(rows, held(rows))
    off = np.sqrt(((predictor.predict(fresh).values[:, 0] - fresh["stars"]) ** 2).mean())
    beside = learned_answers(("linear", "neighbours", "tree"), predictor.encoder, train, fresh, seed=0)
    assert list(beside) == ["linear", "neighbours"]
    rules = {name: np.sqrt(((one.values[:, 0] - fresh["stars"]) ** 2).mean()) for name, one in beside.items()}
    assert off < rules["linear"]
    assert rules["neighbours"] < rules["linear"]
    asked, rated = Asked.of(predictor.encoder, fresh), Rated.of(predictor.encoder, train)
    ours = value(RECALL, asked.by_network(predictor, rated)[RECALL])
    assert ours > value(RECALL, asked.by_popularity(predictor.encoder, train, rated)[RECALL]) + 0.1


def test_a_list_never_holds_what_was_rated_before_it(learned: tuple[Predictor, Path]) -> None:
    predictor, _ = learned
    rows = ratings()
    train = take(rows, ~held(rows))
    rated = Rated.of(predictor.encoder, train)
    assert Rated.from_json(rated.to_json()).items.tolist() == rated.items.tolist()
    names = predictor.encoder.levels["item"]
    for user in ("u0", "u7", GLUTTON):
        mine = take(train, train["user"] == user)
        code = predictor.encoder.levels["user"].index(user) + 2
        assert sorted(names[at - 2] for at in rated.by(code)) == sorted(mine["item"])
        listed = first(scores(predictor, take(mine, np.array([0]))), rated.by(code), ITEMS)
        assert not {names[at - 2] for at in listed} & set(mine["item"])
        assert len(listed) == len(names) - len(set(mine["item"]))


def test_equal_scores_stand_in_the_order_of_ids_and_no_item_is_listed_twice() -> None:
    found = np.array([-np.inf, -np.inf, 1.0, 3.0, 1.0, 3.0, 2.0])
    assert first(found, np.array([], dtype=int), 4).tolist() == [3, 5, 6, 2]
    assert first(found, np.array([3, 6]), 10).tolist() == [5, 2, 4]
    assert first(found, np.array([2, 3, 4, 5, 6]), 10).tolist() == []


def test_liked_items_that_were_never_learned_count_as_missed() -> None:
    rows = ratings()
    encoder = Encoder.fit(SHOP, None, take(rows, rows["item"] != "i04"))
    fresh = take(rows, (rows["user"] == "u0") & np.isin(rows["item"], ["i04", "i02"]))
    asked = Asked.of(encoder, {**fresh, "stars": np.full(len(fresh["key"]), 5.0)})
    best = np.full(encoder.spec.cardinalities[1], -np.inf)
    best[encoder.levels["item"].index("i02") + 2] = 1.0
    none = Rated(np.zeros(encoder.spec.cardinalities[0] + 1, dtype=int), np.array([], dtype=int))
    share = asked.judged(lambda _: best, none)[RECALL]
    assert share[:, 0].tolist() == [(fresh["item"] == "i02").sum() / len(fresh["key"])]


def number_of(given: Rows) -> Rows:
    return {"number": np.array([float(name[1:]) for name in given["item"].tolist()])}


def test_a_list_is_in_the_order_of_its_rows_scores_where_a_feature_follows_from_the_item() -> None:
    rows, derived = ratings(), Features(columns={"number": Number()}, compute=number_of)
    encoder = Encoder.fit(SHOP, derived, rows)
    torch.manual_seed(0)
    network = build(Model(network="mlp"), encoder.spec).eval()
    predictor = Predictor(encoder, Inside(network, encoder.spec))
    nameless = {**take(rows, np.arange(1)), "item": np.array([None], dtype=object)}
    every = {name: np.repeat(values, ITEMS, axis=0) for name, values in nameless.items()}
    said = predictor.predict({**every, "item": np.array(encoder.levels["item"], dtype=object)}).scores
    assert said is not None
    assert np.ptp(said) > 0.01
    assert scores(predictor, nameless)[2:] == pytest.approx(said)


def test_a_version_may_hold_as_many_ids_as_two_columns_learn_and_what_was_rated() -> None:
    generator, ratings_kept = np.random.default_rng(0), 500_000
    items = np.sort(generator.integers(2, MOST_IDS, (ratings_kept // 50, 50)), axis=1).ravel()
    each = len(Rated(np.arange(0, ratings_kept + 1, 50), items).to_json()["items"]) / ratings_kept
    assert 2 * MOST_IDS * (LONGEST + 3) + 25_000_000 * each < LARGEST[PREDICTOR]


def test_no_rule_is_credited_with_an_item_that_was_never_learned() -> None:
    rows = ratings()
    train = take(rows, ~np.isin(rows["item"], ["i04"]) & (rows["user"] != GLUTTON))
    fresh = take(rows, (rows["user"] == GLUTTON) & (rows["item"] == "i04"))
    encoder = Encoder.fit(SHOP, None, train)
    asked, rated = Asked.of(encoder, {**fresh, "stars": np.full(len(fresh["key"]), 5.0)}), Rated.of(encoder, train)
    near = neighbours(encoder, train)
    assert asked.judged(lambda at: near.scores(asked.codes[[at]])[0], rated)[RECALL].tolist() == [[0.0, 1.0]]
    assert asked.by_popularity(encoder, train, rated)[RECALL].tolist() == [[0.0, 1.0]]


def test_new_ids_are_the_mean_of_all_and_watched_as_a_share(learned: tuple[Predictor, Path]) -> None:
    predictor, _ = learned
    rows = take(ratings(), np.arange(4))
    new = {**rows, "user": np.array(["u0", "nobody", "nobody", "other"], dtype=object)}
    assert predictor.observe(new, predictor.predict(new))["user.unknown"].tolist() == [0, 1, 1, 1]
    assert set(predictor.monitored) == {"user.unknown", "item.unknown", "prediction"}
    answers = predictor.predict({**new, "item": np.full(4, "i00", dtype=object)}).values[:, 0]
    assert answers[1] == answers[2] == answers[3] != answers[0]


def test_a_schema_keeps_its_ranking_and_refuses_one_that_can_not_be() -> None:
    assert schema_from_json(SHOP.to_json()) == SHOP
    assert "ranking" not in replace(SHOP, ranking=None).to_json()
    with pytest.raises(BadDeclaration, match="needs Id columns"):
        replace(SHOP, ranking=Ranking(user="user", item="stars", liked=4.0))
    with pytest.raises(BadDeclaration, match="time column"):
        replace(SHOP, time=None)
    with pytest.raises(BadDeclaration, match="'k'"):
        replace(SHOP, columns={**SHOP.columns, "k": Number()})
    with pytest.raises(BadDeclaration, match="refuse"):
        Id(unknown="guess")  # type: ignore[arg-type]


def test_a_network_of_factors_says_that_it_reads_ids_alone() -> None:
    rows = {**ratings(), "price": np.ones(len(ratings()["key"]))}
    spec = Encoder.fit(replace(SHOP, columns={**SHOP.columns, "price": Number()}), None, rows).spec
    with pytest.raises(BadDeclaration, match="two Id columns"):
        build(Model(network="factors"), spec)
    assert build(Model(network="mlp"), spec) is not None


def open_shop(home: Path) -> None:
    """Make a version serve that has learned nothing but which ids there are, and what was rated."""
    rows, model = ratings(), Model(network="factors", options={"width": 4})
    encoder = Encoder.fit(SHOP, None, rows)
    folder = home / "generations" / "shop" / "1"
    folder.mkdir(parents=True)
    made = make_version(
        folder,
        model=model,
        network=build(model, encoder.spec).eval(),
        encoder=encoder,
        rows=rows,
        project=None,
        rated=Rated.of(encoder, rows),
    )
    point(home, "shop", 1, made.manifest)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    open_shop(home)
    with serving(home) as running:
        yield running


def listed(service: Service, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/shop/rank", json=body, headers=headers)


def test_a_list_is_answered_logged_and_labelled_row_by_row(service: Service) -> None:
    answer = listed(service, {"user": "u0", "k": 5}).json()
    items = [one["item"] for one in answer["items"]]
    rows = ratings()
    assert len(set(items)) == 5
    assert not set(items) & set(rows["item"][rows["user"] == "u0"])
    ordered = [one["score"] for one in answer["items"]]
    assert ordered == sorted(ordered, reverse=True)
    ids = [one["id"] for one in answer["items"]]
    labels = {"labels": [{"id": ids[0], "label": 5.0}, {"id": ids[1], "label": 2.0}]}
    assert httpx.post(f"{service.url}/v1/shop/labels", json=labels).json()["new"] == 2
    store = open_store(service.store_url)
    try:
        logged = store.predictions.find("shop", ids)
    finally:
        store.close()
    kept = unpack_rows(SHOP, [logged[one].features for one in ids])
    assert kept["item"].tolist() == items
    assert set(kept["user"].tolist()) == {"u0"}
    off = np.array([answer["items"][0]["value"] - 5.0, answer["items"][1]["value"] - 2.0])
    found = losses_in(answers_of([logged[one] for one in ids[:2]]), "regression")
    assert sorted(found) == pytest.approx(sorted(np.abs(off)))


def test_a_list_asked_for_again_by_its_key_is_the_same_list(service: Service) -> None:
    one = listed(service, {"user": "u3"}, **{"idempotency-key": "again"})
    assert one.json()["items"]
    assert listed(service, {"user": "u3"}, **{"idempotency-key": "again"}).content == one.content
    assert listed(service, {"user": "u4"}, **{"idempotency-key": "again"}).status_code == 409


def test_a_list_that_holds_nothing_keeps_its_key_as_any_other_does(service: Service) -> None:
    empty = listed(service, {"user": GLUTTON}, **{"idempotency-key": "nothing"})
    assert empty.json()["items"] == []
    assert listed(service, {"user": GLUTTON}, **{"idempotency-key": "nothing"}).content == empty.content
    assert listed(service, {"user": "u3"}, **{"idempotency-key": "nothing"}).status_code == 409
    assert listed(service, {"user": "u3"}, **{"idempotency-key": "something"}).json()["items"]
    assert listed(service, {"user": GLUTTON}, **{"idempotency-key": "something"}).status_code == 409


def test_a_list_asked_for_again_is_the_same_after_another_generation_came(service: Service) -> None:
    one = listed(service, {"user": "u5"}, **{"idempotency-key": "before"})
    assert one.json()["generation"] == 1
    first = json.loads((service.home / "generations" / "shop" / "current.json").read_text())
    point(service.home, "shop", 2, first["manifest_sha256"], folder="1")
    try:
        for _ in range(100):
            if listed(service, {"user": "u5"}).json()["generation"] == 2:
                break
            time.sleep(0.1)
        assert listed(service, {"user": "u5"}).json()["generation"] == 2
        assert listed(service, {"user": "u5"}, **{"idempotency-key": "before"}).content == one.content
    finally:
        point(service.home, "shop", 3, first["manifest_sha256"], folder="1")


def test_whoever_rated_everything_gets_an_empty_list_and_a_newcomer_a_full_one(service: Service) -> None:
    assert listed(service, {"user": GLUTTON}).json()["items"] == []
    newcomer = listed(service, {"user": "nobody", "k": 100}).json()["items"]
    assert len(newcomer) == ITEMS
    everything = [one["item"] for one in newcomer]
    assert listed(service, {"user": "nobody", "without": everything}).json()["items"] == []
    assert [one["item"] for one in listed(service, {"user": "nobody", "without": everything[:-1]}).json()["items"]] == (
        everything[-1:]
    )


def test_a_list_is_counted_by_the_rows_that_it_holds(service: Service) -> None:
    def counted() -> list[float]:
        lines = dict(one.rsplit(" ", 1) for one in httpx.get(f"{service.url}/metrics").text.splitlines())
        return [float(lines[name]) for name in ("holdfast_committed_rows_total", "holdfast_batch_rows_sum")]

    before = counted()
    assert len(listed(service, {"user": "nobody", "k": 100}).json()["items"]) == ITEMS
    assert np.subtract(counted(), before).tolist() == [ITEMS, ITEMS]


@pytest.mark.parametrize(
    ("body", "where", "why"),
    [
        ({}, "user", "missing"),
        ({"user": 12}, "user", "text expected"),
        ({"user": "u0", "k": 0}, "k", "1 to 100"),
        ({"user": "u0", "item": "i00"}, "item", "unknown key"),
        ({"user": "u0", "without": "i00"}, "without", "a list of ids"),
        ({"user": "\n"}, "user", "printable"),
    ],
)
def test_a_list_that_is_asked_for_wrongly_is_refused_and_says_why(
    service: Service, body: dict[str, Any], where: str, why: str
) -> None:
    refused = listed(service, body)
    assert (refused.status_code, refused.json()["where"]) == (422, where)
    assert why in refused.json()["error"]


SCORES_WAIT = """
import time
from pathlib import Path
from models import lists
from serving import batching
real, held = lists.scores, Path({held!r})
batching.PREDICT_SECONDS, batching.WAITING_ROWS = 0.5, 20

def slow(predictor, row):
    while held.exists():
        time.sleep(0.02)
    return real(predictor, row)

lists.scores = slow
"""


def test_a_list_that_takes_too_long_is_given_up_and_no_more_of_them_wait_than_rows_may(tmp_path: Path) -> None:
    open_shop(tmp_path)
    held = tmp_path / "held"
    held.touch()
    with serving(tmp_path, command=broken(SCORES_WAIT.format(held=str(held)))) as service:
        try:
            late = [listed(service, {"user": "u1"}) for _ in range(2)]
            full = listed(service, {"user": "u1"})
        finally:
            held.unlink()
        assert [(one.status_code, one.headers["retry-after"]) for one in [*late, full]] == [(503, "1")] * 3
        assert all("no durable answer in time" in one.json()["error"] for one in late)
        assert "as many rows waiting as it can" in full.json()["error"]
        for _ in range(100):
            if (after := listed(service, {"user": "u1"})).status_code == 200:
                break
            time.sleep(0.1)
        assert len(after.json()["items"]) == 10
        store = open_store(service.store_url)
        try:
            assert store.predictions.count("shop") == 10  # nothing of what its client was told is too late
        finally:
            store.close()


def test_a_list_costs_its_client_the_rows_that_it_asks_for_before_an_item_is_scored(tmp_path: Path) -> None:
    open_shop(tmp_path)
    held = tmp_path / "held"
    held.touch()
    store = open_store(f"sqlite:///{tmp_path / 'holdfast.db'}")
    secret = store.clients.add("slow", ["predict"], datetime.now(UTC), "ada", rows_per_second=1)[1]
    store.close()
    with serving(tmp_path, command=broken(SCORES_WAIT.format(held=str(held)))) as service:
        sent = {"authorization": f"Bearer {secret}"}
        try:
            assert [listed(service, {"user": "u1", "k": 15}, **sent).status_code for _ in range(2)] == [503, 429]
        finally:
            held.unlink()


def test_an_item_that_was_never_learned_is_refused_by_name_and_a_new_user_is_answered(service: Service) -> None:
    def rated(user: str, item: str) -> httpx.Response:
        return httpx.post(f"{service.url}/v1/shop/predict", json={"rows": [{"user": user, "item": item}]})

    assert rated("nobody", "i00").status_code == 200
    refused = rated("u0", "i99")
    assert (refused.status_code, refused.json()["where"]) == (422, "rows[0].item")
    assert "'i99' was never learned" in refused.json()["error"]


def test_the_documents_examples_of_ids_and_lists_are_answered_as_they_stand(service: Service) -> None:
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    for route in ("predict", "rank", "labels"):
        content = paths[f"/v1/shop/{route}"]["post"]["requestBody"]["content"]["application/json"]
        assert httpx.post(f"{service.url}/v1/shop/{route}", json=content["example"]).status_code == 200, route
    said = paths["/v1/shop/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    described = said["properties"]["rows"]["items"]["properties"]
    assert "Refused" in described["item"]["description"]
    assert "mean" in described["user"]["description"]


SHOP_FILE = """
import pandas as pd
from test_rankings import SHOP, TRAINING, ratings

from projects.declaration import Evaluation, Gates, Model, Monitors, Project, Window


def rows():
    made = pd.DataFrame(ratings())
    made["at"] = pd.to_datetime(made["at"], utc=True)
    made.loc[0, "user"] = None
    return made


project = Project(
    name="shop",
    task="regression",
    schema=SHOP,
    source=rows,
    model=Model(network="factors", options={"width": 4}),
    training=TRAINING,
    evaluation=Evaluation(
        metric="rmse", anchor=0.1, baselines=("linear", "neighbours"), protocols=("last-of-each",)
    ),
    gates=Gates(floors={"recall@10": 0.2}, margin=0.5, anchor_rows=20),
    monitors=Monitors(window=Window(rows=100)),
)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Resources, Path]:
    """The shop's ratings ingested, dealt out, learned from and evaluated."""
    home = tmp_path_factory.mktemp("loop")
    (home / "projects").mkdir()
    (home / "projects" / "shop.py").write_text(SHOP_FILE)
    resources = Resources(Settings(home=home, projects=str(home / "projects")))
    ingest(resources, "shop")
    folder, project = home / "run", resources.project("shop")
    write_snapshot(folder / "snapshot.json", resources.batches.snapshot("shop"))
    preparation.prepare(project, resources.batches, folder)
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    return resources, folder


def test_each_users_newest_ratings_judge_and_none_of_them_is_learned(shop: tuple[Resources, Path]) -> None:
    resources, folder = shop
    parts = {role: role_files.read_role(folder, SHOP, role) for role in ("train", "judge", "anchor")}
    for user in np.unique(parts["train"]["user"].astype(str)):
        known, newest = (parts[role]["at"][parts[role]["user"] == user] for role in ("train", "judge"))
        assert len(newest)
        assert known.max() < newest.min()
    assert not set(parts["judge"]["key"]) & set(parts["train"]["key"])
    assert sum(len(part["key"]) for part in parts.values()) == len(ratings()["key"]) - 1  # one had no user
    rows = concatenate(list(parts.values()))
    [fold] = deal("last-of-each", resources.project("shop"), rows, 0)
    assert set(rows["key"][fold.test]) == set(parts["judge"]["key"])
    assert len(fold.train) + len(fold.test) == len(rows["key"])


def test_a_version_leaves_out_the_newest_ratings_too_and_is_judged_by_lists_that_may_hold_them(
    shop: tuple[Resources, Path],
) -> None:
    resources, folder = shop
    project, predictor = resources.project("shop"), read_version(folder / "model")
    judged = role_files.read_role(folder, SHOP, "judge")
    assert predictor.rated is not None
    for user, item in zip(judged["user"], judged["item"], strict=True):
        mine = predictor.rated.by(predictor.encoder.levels["user"].index(user) + 2)
        names = predictor.encoder.levels["item"]
        assert item in {names[at - 2] for at in mine} or item not in names
    found = evaluation.evaluate(project, folder)
    assert found["judge"][RECALL]["low"] < found["judge"][RECALL]["value"] < found["judge"][RECALL]["high"]
    judgement = judge_version(resources, project, folder)
    gates = {result.name: result for result in judgement.results}
    assert gates["popularity"].passed, gates["popularity"].sentence
    assert "recall@10 [+" in gates["popularity"].sentence
    assert gates["floor:recall@10"].value == pytest.approx(found["judge"][RECALL]["value"])
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    reference, _ = build_reference(resources, project, predictor, snapshot, folder / "scratch")
    assert {"user.unknown", "item.unknown"} <= set(from_bytes(reference).watched)


def test_a_recipe_that_ranks_is_told_with_its_lists_beside_popularity_and_neighbours(
    shop: tuple[Resources, Path],
) -> None:
    found = recipe_report.facts(evaluate(shop[0], "shop", "last-of-each", processes=1))
    assert found["metrics"][RECALL].keys() == {"value", "low", "high", "popularity", "neighbours"}
    assert found["metrics"][RECALL]["popularity"]["low"] > 0
    assert found["metrics"]["rmse"]["value"] < found["metrics"]["rmse"]["linear"]["value"]
    assert {line["metric"] for line in recipe_report.table(found)} >= {"rmse", RECALL, NDCG}
