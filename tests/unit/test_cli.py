import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flows.artifacts import combined
from holdfast import console, doctor
from holdfast.cli import app
from holdfast.doctor import Finding
from holdfast.processes import Identity, free_ports
from holdfast.record import Stack
from holdfast.status import look
from monitoring.effects import NewDecision
from monitoring.store import open_store
from projects import digits, discovery
from tasks import person_runs, retraining
from tasks.reports import Report
from tasks.settings import read_settings

COMMANDS = ("up", "down", "status", "doctor", "projects", "check", "new", "ingest", "harvest", "monitor", "train")
COMMANDS += ("promote", "rollback", "approve", "reject", "approvals", "why", "verify", "quarantine")
COMMANDS += ("retrain", "accept")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in os.environ.items():  # a command leads its own process to a home; here it is undone
        monkeypatch.setenv(name, value)
    names = ("PREFECT", "MLFLOW", "SERVICE")
    for name, port in zip(names, free_ports(len(names)), strict=True):
        monkeypatch.setenv(f"HOLDFAST_{name}_PORT", str(port))
    before = set(os.environ)
    yield tmp_path / "home"
    for name in set(os.environ) - before:
        del os.environ[name]


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command_and_loads_no_heavy_tool() -> None:
    code, said, _ = run("--help")
    assert code == 0
    assert all(command in said for command in COMMANDS)
    heavy = ("torch", "mlflow", "pandas", "numpy", "prefect", "dvc", "sqlalchemy", "pydantic", "great_expectations")
    script = f"import sys, holdfast.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_status_names_a_version_that_waits_for_a_person(home: Path) -> None:
    home.mkdir()
    settings = read_settings(home=home)
    store = open_store(settings.store_url)
    now = datetime.now(UTC)
    for version in ("2", "3"):
        asked = NewDecision("rents", "ask", f"version {version}", "a test")
        store.approvals.ask(asked, version=version, champion=None, now=now, expires_at=now + timedelta(days=3))
    no = NewDecision("rents", "reject", "version 3", "a test")
    store.approvals.answer(2, "rejected", actor="ada", why="a test", now=now, decision=no)
    store.close()
    (row,) = look(settings).champions
    assert (row["project"], row["version"]) == ("rents", None)
    assert row["waits"] == "version 2, for a person: `holdfast approvals`"
    _, said, _ = run("approvals", "--json", "--home", home)
    assert [(line["version"], line["answer"]) for line in json.loads(said)] == [("2", "waits")]
    _, said, _ = run("approvals", "rents", "--answered", "--json", "--home", home)
    assert [(line["version"], line["answer"]) for line in json.loads(said)] == [("3", "rejected"), ("2", "waits")]


def test_an_expected_failure_is_one_line_and_status_1(home: Path) -> None:
    code, said, complained = run("ingest", "digit", "--home", home)
    assert (code, said) == (1, "")
    assert complained == "error: no project named 'digit'; did you mean 'digits'?\n"
    code, _, complained = run("up", "--projects", home / "nowhere", "--home", home)
    assert code == 1
    assert "no such folder" in complained
    assert complained.count("\n") == 1


def test_a_stack_that_is_not_up_is_said_to_be_so(home: Path) -> None:
    code, said, _ = run("status", "--home", home)
    assert code == 0
    assert "not up; start it with `holdfast up`" in said
    found = json.loads(run("status", "--json", "--home", home)[1])
    assert (found["up"], found["processes"], found["champions"]) == (False, [], [])
    assert run("down", "--home", home)[1] == f"{home}: nothing is up\n"
    assert not home.exists()


def test_a_stack_that_is_up_says_what_it_was_asked_for_in_vain_and_how_that_comes_in(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "registry" / "iris").mkdir(parents=True)  # ingested, and so at work
    urls = dict.fromkeys(("prefect", "prefect_api", "mlflow", "service"), "http://127.0.0.1:1")
    Stack(str(home), "mark", Identity.of(os.getpid()), 0.0, True, urls, {}, str(tmp_path), "digits").write()
    up = ("up", "--home", home, "--projects", tmp_path, "--examples")
    assert "not " not in run(*up, "digits,iris")[1]
    code, said, _ = run(*up, "iris,heart,fraud", "--projects", home)
    assert code == 0
    assert said.splitlines()[-2:] == [
        "not run by it: fraud, heart. `holdfast ingest NAME` brings in each, while the stack is up",
        f"not looked into by it: {home}. `holdfast down`, then `holdfast up --projects …` again",
    ]
    with monkeypatch.context() as exported:
        exported.setenv("HOLDFAST_EXAMPLES", "digits,fraud")
        assert run("up", "--home", home)[1].splitlines()[-1].startswith("not run by it: fraud. ")
    code, said, complained = run(*up, "hart")
    assert (code, said) == (1, "")
    assert "no shipped project is named 'hart'" in complained


def test_what_never_happened_has_no_reasons(home: Path) -> None:
    code, said, _ = run("why", "incident", "3", "--home", home)
    assert (code, said) == (0, "the ledger has nothing on incident 3\n")
    assert look(read_settings(home=home)).champions == []


def test_a_chain_of_decisions_ends_in_the_numbers_of_each_judging(home: Path) -> None:
    home.mkdir()
    store = open_store(read_settings(home=home).store_url)
    gate = {"gate": "better", "result": "failed", "value": -0.0123456, "threshold": 0.0, "interval": [-0.05, 0.02]}
    inputs = {"version": "7", "gates": [{**gate, "rows": 412, "sentence": "better: no"}]}
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for kind, held in (("judge", inputs), ("refuse", inputs), ("judge", {})):
        store.ledger.decide("rents", kind=kind, subject="version 7", reason="REFUSED: no", inputs=held, now=now)
    store.close()
    code, said, _ = run("why", "version", "7", "--project", "rents", "--home", home)
    assert code == 0
    assert said.splitlines()[3:] == [
        "",
        "version 7 of rents, judged at 2026-11-01 00:00:00:",
        "better\tfailed\t-0.01235\t0\t[-0.05, 0.02]\t412",
    ]


def test_a_broken_project_file_is_listed_beside_the_others(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from projects.declaration import Project\nproject = Project(nmae='mine')\n")
    code, said, _ = run("projects", "--json", "--projects", tmp_path, "--home", home)
    states = {row["project"]: row["state"] for row in json.loads(said)}
    assert code == 0
    assert states["digits"] == "ok"
    assert "mine.py:2" in states["mine"]
    assert "did you mean 'name'" in states["mine"]


def test_doctor_finds_a_busy_port_and_says_how_to_mend_it(home: Path) -> None:
    port = int(os.environ["HOLDFAST_MLFLOW_PORT"])
    with socket.socket() as held:
        held.bind(("127.0.0.1", port))
        held.listen()
        findings = {one.check: one for one in doctor.examine(read_settings(home=home))}
    assert findings["ports"].state == "broken"
    assert f"port {port} (mlflow) is held by pid {os.getpid()}" in findings["ports"].sentence
    assert "HOLDFAST_MLFLOW_PORT" in findings["ports"].mend
    assert findings["telemetry"].state == "ok"
    assert not home.exists()


def test_doctor_exits_with_1_when_something_is_broken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [lambda _settings: iter([Finding("disk", "broken", "full", "free some room")])]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    code, said, _ = run("doctor", "--home", home)
    assert (code, said) == (1, "BROKEN  disk               full  -> free some room\n")
    assert run("doctor", "--json", "--home", home)[0] == 1


def test_a_lock_is_compared_with_what_is_installed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = """\
--extra-index-url x
# made by pip
typer==0.0.1 \\
    --hash=sha256:aa
no-such-thing==1 # via x
x==1 ; sys_platform == 'win32'
"""
    (tmp_path / "requirements.lock").write_text(lock)
    monkeypatch.setattr(doctor, "CLONE", tmp_path)
    (found,) = doctor.versions(read_settings(home=home))
    assert found.state == "broken"
    assert "wanted ==0.0.1; no-such-thing is missing" in found.sentence
    assert "x is" not in found.sentence


def test_without_a_terminal_tables_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("3 rows", "", {"card": "http://x"}, [{"gate": "floor", "value": 0.9, "why": "a\nb", "at": None}])
    console.report(report, as_json=False)
    assert capsys.readouterr().out == "3 rows\nfloor\t0.9\ta b\t-\ncard: http://x\n"
    console.report(report, as_json=True)
    assert json.loads(capsys.readouterr().out)["sentence"] == "3 rows"


def test_a_cell_holds_words_as_they_are_written_and_no_more_digits_than_are_read() -> None:
    assert console.text_of([229.83651473423663, 257.9415369453074]) == "[229.8, 257.9]"
    assert console.text_of({"city not one of ['köln']": 1}) == "{\"city not one of ['köln']\": 1}"


def test_a_training_says_its_verdict_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = "KEPT: better: +0.1 points of accuracy"
    gates = [{"gate": "better", "result": "failed", "value": 0.001, "sentence": "better: +0.1 points of accuracy"}]
    entered = SimpleNamespace(project=discovery.load("digits", [Path(digits.__file__).parent]))
    steps = {name: Report(f"{name} is done") for name in ("collect", "prepare", "fit", "evaluate", "register")}
    steps |= {"judge": Report(verdict, table=gates), "settle": Report(f"version 7 kept: {verdict}", table=gates)}
    for name, told in steps.items():
        monkeypatch.setattr(retraining, name, lambda *_, told=told: told)
    monkeypatch.setattr(person_runs, "leased", lambda *_, holder, intent: nullcontext(entered))
    code, said, _ = run("train", "digits", "--home", home)
    done = [f"{name} is done" for name in list(steps)[:5]]
    assert (code, said.splitlines()) == (0, [*done, f"version 7 kept: {verdict}", "better\tfailed\t0.001\t-\t-\t-"])
    assert json.loads(run("train", "digits", "--json", "--home", home)[1])["table"] == gates
    page = combined(steps)
    assert page.sentence == f"version 7 kept: {verdict}"
    assert "is done" in page.markdown
    assert verdict not in page.markdown
