import json
from pathlib import Path

from test_cli import home, run

from holdfast.status import who_may_ask
from monitoring.store import open_store
from monitoring.store.clients import hashed
from tasks.settings import read_settings

__all__ = ["home"]


def test_a_key_is_made_shown_listed_and_revoked(home: Path) -> None:
    code, secret, told = run("keys", "add", "till", "--scope", "predict", "--scope", "label", "--home", home)
    assert (code, "shown once" in told) == (0, True)
    store = open_store(read_settings(home=home).store_url)
    assert store.clients.all()[0].secret_sha256 == hashed(secret.strip())
    assert secret.count("\n") == 1  # so that $(holdfast keys add …) is the key
    code, listed, _ = run("keys", "ls", "--home", home, "--json")
    assert [(one["name"], one["scopes"], one["revoked"]) for one in json.loads(listed)] == [
        ("till", "predict label", None)
    ]
    assert secret.strip() not in listed
    assert run("keys", "add", "till", "--scope", "predict", "--home", home)[0] == 1
    assert run("keys", "revoke", "till", "--home", home)[:2] == (0, "the key of till is revoked\n")
    assert store.clients.all()[0].revoked_at is not None
    store.close()


def test_a_key_for_a_misspelt_project_or_scope_is_refused_with_the_nearest(home: Path) -> None:
    code, _, error = run("keys", "add", "till", "--scope", "predict", "--project", "digts", "--home", home)
    assert (code, "did you mean 'digits'?" in error) == (1, True)
    code, _, error = run("keys", "add", "till", "--scope", "lable", "--home", home)
    assert (code, "did you mean 'label'?" in error) == (1, True)
    code, made, _ = run("keys", "add", "till", "--scope", "predict", "--project", "digits", "--home", home, "--json")
    assert (code, json.loads(made)["projects"]) == (0, "digits")


def test_who_may_ask_is_said_as_the_service_has_it(home: Path) -> None:
    settings = read_settings(home=home)
    assert "answers anybody on this machine" in who_may_ask(settings)
    assert "answers nobody" in who_may_ask(read_settings(home=home, host="0.0.0.0"))
    run("keys", "add", "till", "--scope", "predict", "--home", home)
    assert who_may_ask(settings).startswith("1 in use")
    run("keys", "revoke", "till", "--home", home)
    assert "answers nobody" in who_may_ask(settings)
