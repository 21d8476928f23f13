import json
from datetime import UTC, datetime
from pathlib import Path

from test_cli import home, run

from monitoring.effects import NewDecision
from monitoring.records import Generation
from monitoring.store import open_store
from monitoring.store.trials import Trial
from tasks.settings import read_settings

__all__ = ["home"]


def test_a_trial_is_shown_and_stopped_by_hand(home: Path) -> None:
    for words in (("show", "digits"), ("stop", "digits")):
        code, _, complained = run("trial", *words, "--home", home)
        assert (code, complained.count("\n")) == (1, 1)
        assert "on trial" in complained
    code, _, complained = run("trial", "start", "digits", "2", "--shadow", "--canary", "0.1", "--home", home)
    assert (code, complained) == (1, "error: either --shadow or --canary SHARE\n")
    store, now = open_store(read_settings(home=home).store_url), datetime.now(UTC)
    store.ledger.append_generation(0, Generation("digits", 0, "1", "run", "f" * 64, now, "test", "a test", []))
    margins = {"metric": "accuracy", "minimum_rows": 1, "error_margin": 0, "latency_margin": 1, "metric_margin": 0}
    new = Trial(0, "digits", "2", "run", "f" * 64, 1, "canary", 0.1, margins, "ada", now)
    store.trials.start(new, NewDecision("digits", "trial", "version 2", "a test"))
    store.close()
    _, said, _ = run("trial", "show", "digits", "--json", "--home", home)
    shown = json.loads(said)
    assert (shown["trial"], shown["version"], shown["share"], shown["outcome"]) == (1, "2", 0.1, "goes on")
    assert shown["compared"]["rows"] == {"champion": 0, "challenger": 0}
    _, said, _ = run("trial", "stop", "digits", "--reason", "enough", "--home", home)
    assert said == "trial 1 of version 2 is stopped; the champion answers alone\n"
    _, said, _ = run("trial", "show", "digits", "--home", home)
    assert "outcome\tstopped" in said
