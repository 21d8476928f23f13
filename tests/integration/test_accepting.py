from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_parts import WINDOW, Orchard, Orchestra, plant, plums
from sqlalchemy import update
from store_parts import race, url

from data.errors import HoldfastError, NotAcceptable
from monitoring.effects import Effects, NewIncident
from monitoring.logged import reference_of
from monitoring.records import Incident, Verdict, WindowKey
from monitoring.reference import Reference
from monitoring.store.store import Store
from monitoring.store.tables import verdicts
from monitoring.stored_reference import from_bytes
from tasks import accepting, rereferencing, watching
from tasks.accepting import accept, ask, carry_out
from tasks.reporting import window_of
from tasks.watching import watch

__all__ = ["url"]

SHIFT = 2.5
batches = count(1)
on_a_file = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # many windows: their statistics are in question


@pytest.fixture
def orchard(request: pytest.FixtureRequest, trained: Path, tmp_path: Path, url: str) -> Iterator[Orchard]:
    made = plant(trained, "http://127.0.0.1:9", tmp_path / "home", request.node.name, store=url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nobody_retrains(orchard: Orchard) -> None:
    orchard.declare(("minimum_labels=30", 'minimum_labels=30, retrain="off"'))


def late_labels(orchard: Orchard) -> None:
    orchard.declare(("delay=timedelta(hours=1)", "delay=timedelta(days=300)"))


def live(orchard: Orchard, windows: int, shift: float = 0.0) -> list[str]:
    """Let the service answer whole windows, each judged; return what was said of their data."""
    ids = []
    known = orchard.store.predictions.count(orchard.name)
    for _ in range(windows):
        number = next(batches)
        ids += orchard.answer(plums(WINDOW, shift=shift, seed=1000 + number), prefix=f"w{number:05d}-")
    watch(orchard, orchard.name)
    return [one.outcome for one in orchard.verdicts() if one.window.index >= known // WINDOW]


def changed(orchard: Orchard, shift: float = SHIFT, windows: int = 4) -> Incident:
    """Let the world change, and return its incident."""
    orchard.serve()
    live(orchard, 3)
    live(orchard, windows, shift)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    return incident


def compared_with(orchard: Orchard) -> Reference:
    now = orchard.now()
    return reference_of(orchard.store, WindowKey(orchard.name, orchard.serving.number, 10**6, now, now))


def revisions(orchard: Orchard) -> int:
    return len(orchard.store.references.revisions(orchard.name, orchard.serving.number))


@on_a_file
def test_a_permanent_harmless_change_is_one_incident_then_fifty_quiet_windows_and_the_next_change_is_seen(
    orchard: Orchard,
) -> None:
    late_labels(orchard)
    incident = changed(orchard)
    assert incident.kind == "drift"
    report = accept(orchard, incident.id, "a new supplier, as announced", "ada")
    assert f"incident {incident.id} (drift of {orchard.name}) is accepted by ada" in report.sentence
    closed = orchard.store.incidents.get(incident.id)
    assert closed is not None
    assert closed.closed_why == "accepted by ada: a new supplier, as announced"
    said = live(orchard, 50, SHIFT)
    assert said.count("ok") >= 48
    assert len(orchard.store.incidents.recent(orchard.name, 9)) == 1
    assert revisions(orchard) == 2
    assert "drift" in live(orchard, 3, SHIFT + 1.5)
    assert [one.closed_at is None for one in orchard.store.incidents.recent(orchard.name, 9)] == [True, False]


def test_an_accepted_reference_is_made_of_the_windows_since_the_change_and_keeps_the_losses_without_labels(
    orchard: Orchard,
) -> None:
    late_labels(orchard)
    incident = changed(orchard)
    before = compared_with(orchard)
    accept(orchard, incident.id, "a new supplier", "ada")
    after = compared_with(orchard)
    assert after.rows == 3 * WINDOW  # without the window in which it began
    assert after.moments["size"][0] == pytest.approx(SHIFT, abs=0.4)
    assert set(after.watched) == set(before.watched)
    assert after.losses.tolist() == before.losses.tolist()
    assert (after.task, after.exchangeable, after.importance) == (before.task, before.exchangeable, before.importance)
    revision = orchard.store.references.revisions(orchard.name, 1)[-1]
    assert revision.change is not None
    assert (revision.change.incident_id, revision.change.actor) == (incident.id, "ada")
    assert (revision.change.first_window, revision.change.last_window) == (3, 6)


def test_errors_are_compared_with_those_on_the_accepted_rows_once_their_labels_are_there(orchard: Orchard) -> None:
    orchard.serve()
    live(orchard, 3)
    ids = [orchard.answer(plums(WINDOW, shift=SHIFT, seed=50 + n), prefix=f"n{n}-") for n in range(4)]
    watch(orchard, orchard.name)
    for n, some in enumerate(ids):
        orchard.label(some, plums(WINDOW, shift=SHIFT, seed=50 + n))
    [incident] = [one for one in orchard.store.incidents.open_ones(orchard.name) if one.kind == "drift"]
    report = accept(orchard, incident.id, "a new supplier", "ada")
    assert "their 120 labels" in report.sentence
    assert len(compared_with(orchard).losses) == 3 * WINDOW


@on_a_file
def test_errors_that_were_accepted_are_no_rise_over_those_of_before(orchard: Orchard) -> None:
    orchard.serve()
    noise = np.random.default_rng(4)

    def labelled(windows: int, wrong: float) -> list[str]:
        for _ in range(windows):
            rows, number = plums(WINDOW, seed=2000 + next(batches)), next(batches)
            turned = np.where(noise.random(WINDOW) < wrong, -1.0, 1.0)
            ids = orchard.answer(rows, prefix=f"e{number:05d}-")
            orchard.label(ids, {name: values * turned for name, values in rows.items()})
            watch(orchard, orchard.name)
        return [one.outcome for one in orchard.verdicts("performance")][-windows:]

    assert "degraded" not in labelled(12, 0.02)
    assert "degraded" in labelled(8, 0.45)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    accept(orchard, incident.id, "people answer otherwise now, as announced", "ada")
    assert "degraded" not in labelled(10, 0.45)
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_windows_of_before_and_reports_of_old_verdicts_keep_the_reference_they_had(orchard: Orchard) -> None:
    late_labels(orchard)
    incident = changed(orchard)
    old = compared_with(orchard)
    verdict = orchard.verdicts()[-1]
    accept(orchard, incident.id, "a new supplier", "ada")
    first = orchard.verdicts()[0].window
    assert reference_of(orchard.store, first).rows == old.rows
    assert reference_of(orchard.store, verdict.window).rows != old.rows
    assert window_of(orchard, verdict.window)[0].rows == old.rows
    orchard.store.database.write(lambda connection: connection.execute(update(verdicts).values(detail={})))
    assert window_of(orchard, verdict.window)[0].rows == old.rows  # a verdict that does not say what it was made with


def test_a_window_judged_while_somebody_accepts_is_reported_with_what_it_was_judged_by(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_labels(orchard)
    incident = changed(orchard)
    old, follows = compared_with(orchard), watching.incidents.effects

    def meanwhile(*arguments: Any) -> Effects:
        accept(orchard.another(), incident.id, "a new supplier", "ada")
        return follows(*arguments)

    with monkeypatch.context() as slow:
        slow.setattr(watching.incidents, "effects", meanwhile)
        live(orchard, 1, SHIFT)
    verdict = orchard.verdicts()[-1]
    assert verdict.outcome == "drift"
    assert reference_of(orchard.store, verdict.window).rows != old.rows
    assert window_of(orchard, verdict.window)[0].rows == old.rows


def test_a_window_of_the_accepted_change_counts_no_more_when_its_labels_come_late(orchard: Orchard) -> None:
    from monitoring.incidents import effects
    from tasks.watching import setting

    late_labels(orchard)
    incident = changed(orchard)
    accept(orchard, incident.id, "a new supplier", "ada")
    met = setting(orchard, orchard.declared, orchard.serving)
    for one in orchard.verdicts()[-2:]:
        late = Verdict(one.window, "performance", "degraded", WINDOW, "degraded: as a test says")
        assert effects(late, met).opened is None
    new = WindowKey(orchard.name, 1, 7, orchard.now(), orchard.now(), 280, 320)
    assert effects(Verdict(new, "performance", "degraded", WINDOW, "degraded: as a test says"), met).opened is None


@pytest.mark.parametrize("where", ["remake", "accept"])
def test_accepting_is_done_once_however_often_it_is_killed_or_asked_for(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    late_labels(orchard)
    incident = changed(orchard)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(accepting if where == "remake" else Store, where, killed)
        with pytest.raises(KeyboardInterrupt):
            accept(orchard, incident.id, "a new supplier", "ada")
    assert revisions(orchard) == 1
    assert orchard.store.incidents.open_ones(orchard.name) == [incident]
    got = race(4, lambda number: accept(orchard.another(), incident.id, "a new supplier", f"person {number}"))
    assert not [one for one in got if isinstance(one, HoldfastError)]
    assert revisions(orchard) == 2
    assert sum("nothing is changed" in one.sentence for one in got) == 3  # type: ignore[union-attr]
    told = orchard.store.ledger.decisions(orchard.name, kinds=("accept",))
    assert [line.subject for line in told] == [f"incident {incident.id}"]
    assert "nothing is changed" in accept(orchard, incident.id, "again", "bob").sentence
    alert, event = [one for one in orchard.store.outbox.due(orchard.now(), 100) if ".accepted" in one.id]
    assert list(alert.payload["links"])[:3] == ["incident", "report", "overview"]
    assert "accepted by" in alert.payload["text"]
    assert event.payload["event"] == "holdfast.incident.accepted"


def test_what_can_not_be_accepted_is_refused_in_one_sentence(orchard: Orchard) -> None:
    late_labels(orchard)
    orchard.serve()
    live(orchard, 3)
    fault, _ = orchard.store.incidents.open(NewIncident(orchard.name, "fault", 1, "a dead sensor"), orchard.now())
    with pytest.raises(NotAcceptable, match="no change of the world"):
        accept(orchard, fault.id, "it is harmless", "ada")
    orchard.store.incidents.close(fault.id, "mended", orchard.now())
    early, _ = orchard.store.incidents.open(
        NewIncident(orchard.name, "drift", 1, "drift", {"window": 3}), orchard.now()
    )
    with pytest.raises(NotAcceptable, match="no window since the change began is judged"):
        accept(orchard, early.id, "it is harmless", "ada")
    with pytest.raises(HoldfastError, match="a reason"):
        accept(orchard, early.id, " ", "ada")
    with pytest.raises(HoldfastError, match="incident 99 is not open"):
        accept(orchard, 99, "it is harmless", "ada")
    orchard.serve("2")
    with pytest.raises(NotAcceptable, match="is of generation 1, and generation 2 serves"):
        accept(orchard, early.id, "it is harmless", "ada")
    orchard.store.incidents.close(early.id, "over", orchard.now())
    with pytest.raises(HoldfastError, match="is not open"):
        ask(orchard, early.id, "it is harmless", "ada")
    assert orchard.store.acceptances.open_ones() == []


def test_too_few_rows_are_refused_with_what_is_needed(orchard: Orchard) -> None:
    late_labels(orchard)
    orchard.declare(("minimum_rows=20", "minimum_rows=20, k=1, n=1"))
    incident = changed(orchard, windows=1)
    orchard.declare(("minimum_rows=20", "minimum_rows=200"))
    with pytest.raises(NotAcceptable, match="1 window since the change began are too few yet, 200 rows are needed"):
        accept(orchard, incident.id, "a new supplier", "ada")


def test_the_keeper_starts_one_run_for_a_persons_word_and_another_where_that_died(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_labels(orchard)
    incident, orchestra = changed(orchard), Orchestra()
    for _ in range(2):
        ask(orchard, incident.id, "a new supplier", "ada")
    [asked] = orchard.store.acceptances.open_ones()
    with monkeypatch.context() as crash:
        crash.setattr("monitoring.store.acceptances.Acceptances.note_run", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            orchestra.keeper(orchard).acceptor.attend()
    keeper = orchestra.keeper(orchard)
    for _ in range(3):
        keeper.acceptor.attend()
    assert len(orchestra.runs) == 1
    [run] = {f"run-{key}" for key in orchestra.runs}
    orchestra.states[run] = "Crashed"
    for _ in range(5):
        orchard.ahead += timedelta(seconds=20)
        keeper.acceptor.attend()
    assert len(orchestra.runs) == 2
    deployment, said, _ = orchestra.asked[-1]
    assert deployment == f"accept/{orchard.name}"
    assert (said["incident"], said["acceptance"]) == (incident.id, asked.id)
    report = carry_out(orchard, said["acceptance"])
    assert "accepted by ada: a new supplier" in report.sentence
    assert carry_out(orchard, said["acceptance"]).sentence == f"acceptance {asked.id} is settled: revision 2"
    assert revisions(orchard) == 2
    keeper.acceptor.attend()
    assert len(orchestra.runs) == 2


def test_a_word_that_can_not_be_kept_ends_with_the_reason_and_is_not_tried_again(orchard: Orchard) -> None:
    late_labels(orchard)
    orchard.declare(("minimum_rows=20", "minimum_rows=20, k=1, n=1"))
    incident, orchestra = changed(orchard, windows=1), Orchestra()
    orchard.declare(("minimum_rows=20", "minimum_rows=200"))
    ask(orchard, incident.id, "a new supplier", "ada")
    [asked] = orchard.store.acceptances.open_ones()
    orchestra.keeper(orchard).acceptor.attend()
    with pytest.raises(NotAcceptable):
        carry_out(orchard, asked.id)
    ended = orchard.store.acceptances.get(asked.id)
    assert ended is not None
    assert "refused:" in str(ended.outcome)
    assert "200 rows are needed" in str(ended.outcome)
    [line] = orchard.store.ledger.decisions(orchard.name, kinds=("not-accepted",))
    assert line.subject == f"incident {incident.id}"
    orchard.ahead = timedelta(minutes=5)
    orchestra.keeper(orchard).acceptor.attend()
    assert len(orchestra.runs) == 1


def test_without_new_rows_the_same_windows_would_drift_for_ever(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_labels(orchard)
    incident = changed(orchard)
    same = orchard.store.references.get(orchard.name, 1)
    assert same is not None
    known = from_bytes(same)
    monkeypatch.setattr(rereferencing, "build", lambda *_: known)  # what the first test would see
    accept(orchard, incident.id, "a new supplier", "ada")
    assert "drift" in live(orchard, 3, SHIFT)
