import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_cli import home, run

from models.card_words import score, scored
from monitoring.effects import NewDecision
from monitoring.records import Generation
from monitoring.store import open_store
from tasks import contrast
from tasks.settings import read_settings

__all__ = ["home"]
START = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture
def served(home: Path) -> Path:
    """A home whose ledger has three generations of a project without a file, and no MLflow."""
    home.mkdir()
    store = open_store(read_settings(home=home).store_url)
    gates = [{"gate": "better", "result": "failed", "sentence": "better: less by 0.8 [bold]"}]
    for version in ("1", "2"):
        inputs = {"version": version, "gates": gates, "manifest": "aa", "champion": None}
        reason = "KEPT: less by 0.8" if version == "2" else "PASSED: more"
        store.ledger.decide(
            "rents", kind="judge", subject=f"version {version}", reason=reason, inputs=inputs, now=START
        )
    for number, (version, why, waived) in enumerate(
        [("1", "PASSED: more", ()), ("2", "try it", ("better",)), ("1", "rollback: it was worse", ())], start=1
    ):
        at = START + timedelta(days=number)
        kind = "rollback" if why.startswith("rollback") else "promote"
        decision = NewDecision("rents", kind, f"version {version}", why, {"generation": number})
        new = Generation("rents", number, version, "r", "aa", at, "ann", why, gates, waived)
        store.ledger.append_generation(number - 1, new, (decision,))
    store.close()
    return home


def test_the_history_of_a_project_needs_neither_its_file_nor_a_server(served: Path) -> None:
    code, said, _ = run("models", "history", "rents", "--home", served)
    newest, second, first = (line.split("\t") for line in said.splitlines())
    assert code == 0
    assert newest == ["3", "1 (rollback)", "2026-03-04 08:00 UTC", "now", "ann", "rollback: it was worse", "-", "-"]
    assert second == ["2", "2", "2026-03-03 08:00 UTC", "2026-03-04 08:00 UTC", "ann", "try it", "-", "better"]
    assert first[3] == "2026-03-03 08:00 UTC"
    told = json.loads(run("models", "history", "rents", "--json", "--home", served)[1])
    assert (told[0]["generation"], told[0]["rollback"], told[0]["until"]) == (3, True, None)
    assert run("models", "history", "digits", "--home", served)[1].startswith("digits has no champion yet")


def test_without_mlflow_what_the_ledger_knows_is_shown_and_the_rest_says_what_to_do(served: Path) -> None:
    code, said, _ = run("models", "show", "rents", "2", "--home", served)
    assert code == 0
    assert "KEPT: less by 0.8" in said
    assert "better\tfailed\tless by 0.8 [bold]" in said
    assert "Generation 2 since 2026-03-03 08:00 UTC until 2026-03-04 08:00 UTC; by ann: try it; waived: better" in said
    assert "MLflow does not answer" in said
    for words in (("ls", "rents"), ("card", "rents", "1"), ("compare", "rents", "1", "2"), ("show", "rents", "9")):
        code, _, error = run("models", *words, "--home", served)
        assert code == 1
        assert "MLflow" in error
        assert error.count("\n") == 1
    assert "holdfast up" in run("models", "ls", "--home", served)[2]


def test_a_project_that_nobody_knows_is_answered_with_the_nearest(served: Path) -> None:
    for words in (("ls", "rent"), ("history", "rent"), ("show", "rent", "1"), ("card", "rent", "1")):
        code, _, error = run("models", *words, "--home", served)
        assert (code, error) == (1, "error: no project named 'rent'; did you mean 'rents'?\n")


@pytest.mark.parametrize(
    "numbers",
    [{"value": 0.97131, "low": 0.955, "high": 1.0}, {"value": 1e-07}, {"value": float("nan")}, {"value": -3.0}],
)
def test_a_score_is_read_as_it_was_written(numbers: dict[str, float]) -> None:
    read = scored(score({"metric": "log_loss", "judge": {"log_loss": numbers}}))
    assert read["metric"] == "log_loss"
    for name in ("value", "low", "high"):
        wanted = pytest.approx(numbers[name], rel=1e-3, nan_ok=True) if name in numbers else None
        assert read[name] == wanted


@pytest.mark.parametrize("text", ["", "accuracy", "accuracy high", "accuracy 0.9 [1]", "0.9", "a 1 [2, 3] <b>"])
def test_what_somebody_else_wrote_as_a_score_is_none(text: str) -> None:
    assert set(scored(text).values()) == {None}


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ({"rows.judge": "aa"}, {"rows.judge": "aa"}, "were scored on the same 40 judge rows"),
        ({"rows.judge": "aa"}, {"rows.judge": "bb"}, "were not scored on the same judge rows"),
        ({}, {"rows.judge": "bb"}, "was not recorded"),
    ],
)
def test_numbers_side_by_side_say_whether_their_rows_are_the_same(
    left: dict[str, str], right: dict[str, str], said: str
) -> None:
    card = {"quality": {"rows": {"judge": 40}}, "data": {}, "verdict": None}
    a, b = {**card, "version": "1", "facts": left}, {**card, "version": "2", "facts": right}
    roles = {role: contrast.same(a, b, role) for role in ("judge", "anchor")}
    assert roles["anchor"] is None
    assert said in contrast.compared_on(a, b, roles)
