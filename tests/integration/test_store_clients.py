import sqlite3
from pathlib import Path

import pytest
from store_parts import NOON, race, store

from data.errors import BadSetting
from monitoring.store import Store, open_store
from monitoring.store.clients import ApiClient, hashed

__all__ = ["store"]


def test_a_secret_is_shown_once_and_kept_as_its_hash_only(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.db"
    opened = open_store(f"sqlite:///{file}")
    made, secret = opened.clients.add("till", ["label", "predict"], NOON, "ada", projects=["b", "a", "a"])
    assert (made.scopes, made.projects, made.created_by) == (("predict", "label"), ("a", "b"), "ada")
    assert opened.clients.all() == [made]
    assert made.secret_sha256 == hashed(secret)
    assert len(secret) == 46
    opened.close()
    with sqlite3.connect(file) as raw:
        dump = "".join(raw.iterdump())
    assert hashed(secret) in dump
    assert secret not in dump
    assert secret[3:] not in dump
    assert made.secret_sha256 not in repr(made)


def test_no_two_secrets_are_alike(store: Store) -> None:
    assert len({store.clients.add(f"many-{i}", ["predict"], NOON, "ada")[1] for i in range(20)}) == 20


@pytest.mark.parametrize(
    ("name", "scopes", "projects", "rows", "why"),
    [
        ("", ["predict"], [], None, "no client's name"),
        ("Till 1", ["predict"], [], None, "no client's name"),
        ("x" * 81, ["predict"], [], None, "no client's name"),
        ("till\n", ["predict"], [], None, "no client's name"),
        ("local", ["predict"], [], None, "no client's name"),
        ("till", [], [], None, "needs a scope"),
        ("till", ["predcit"], [], None, "did you mean 'predict'"),
        ("till", ["admin"], ["digits"], None, "are for every project"),
        ("till", ["predict", "read"], ["digits"], None, "are for every project"),
        ("till", ["predict"], [], 0, "at least 1"),
    ],
)
def test_what_can_not_be_meant_makes_no_key(
    store: Store, name: str, scopes: list[str], projects: list[str], rows: int | None, why: str
) -> None:
    before = store.clients.all()
    with pytest.raises(BadSetting, match=why):
        store.clients.add(name, scopes, NOON, "ada", projects=projects, rows_per_second=rows)
    assert store.clients.all() == before


def test_a_name_is_free_again_once_its_key_is_revoked_and_the_old_key_stays_as_history(store: Store) -> None:
    first, _ = store.clients.add("once", ["predict"], NOON, "ada")
    with pytest.raises(BadSetting, match="revoke it first"):
        store.clients.add("once", ["predict"], NOON, "ada")
    store.clients.revoke("once", NOON, "bob")
    with pytest.raises(BadSetting, match="no client 'once' has a key"):
        store.clients.revoke("once", NOON, "bob")
    second, _ = store.clients.add("once", ["label"], NOON, "ada")
    old, new = [one for one in store.clients.all() if one.name == "once"]
    assert (old.id, old.revoked_at, old.revoked_by) == (first.id, NOON, "bob")
    assert new == second


def test_of_many_who_add_one_name_at_once_one_succeeds(store: Store) -> None:
    outcomes = race(8, lambda _: store.clients.add("raced", ["predict"], NOON, "ada"))
    made = [one for one in outcomes if isinstance(one, tuple)]
    assert len(made) == 1
    assert isinstance(made[0][0], ApiClient)
    assert all(isinstance(one, BadSetting) for one in outcomes if not isinstance(one, tuple))
