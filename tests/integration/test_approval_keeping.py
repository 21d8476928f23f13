from datetime import timedelta

import pytest
from approval_parts import answer, ask, attend, kinds, orchestra, people_decide, question, stage, texts
from loop_parts import Orchard, Orchestra
from store_parts import asked_for

from data.errors import Answered, ServerUnavailable
from models.registry import Registry
from tasks import approving

__all__ = ["orchestra", "people_decide"]


def test_one_form_and_one_alert_with_its_link_however_often_keepers_start(
    orchard: Orchard, orchestra: Orchestra
) -> None:
    version = ask(orchard)
    for _ in range(3):
        attend(orchard, orchestra, timedelta(minutes=2))
    asked = question(orchard, version)
    parameters = {"project": orchard.name, "version": version}
    assert [(name, said) for name, said, _ in orchestra.asked] == [(f"ask/{orchard.name}", parameters)]
    (told,) = texts(orchard)
    assert f"`holdfast approve {orchard.name} {version} --reason …`" in told
    assert "Without an answer it is a no on" in told
    (message,) = asked_for(orchard.store.outbox.due(orchard.now(), 10))
    assert message.payload["links"]["approve or reject"].endswith(f"/runs/flow-run/{asked.run}")


def test_a_keeper_that_died_between_form_and_record_makes_no_second_form(
    orchard: Orchard, orchestra: Orchestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(orchard)
    with monkeypatch.context() as crash:
        crash.setattr("monitoring.store.approvals.Approvals.note_run", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            attend(orchard, orchestra)
    attend(orchard, orchestra)
    assert len(orchestra.asked) == 2
    assert len(orchestra.runs) == 1
    assert len(texts(orchard)) == 1


def test_where_no_form_can_be_made_people_are_told_how_to_answer_without(orchard: Orchard) -> None:
    class Away(Orchestra):
        def start_run(self, deployment: str, parameters: dict[str, object], key: str) -> str:
            raise ServerUnavailable("Prefect does not answer")

    version = ask(orchard)
    for _ in range(3):
        with pytest.raises(ServerUnavailable):
            attend(orchard, Away(), timedelta(seconds=40))
    assert len(texts(orchard)) == 1
    attend(orchard, Orchestra())
    assert question(orchard, version).run is not None
    assert len(texts(orchard)) == 1


def test_it_reminds_once_at_half_the_time_and_then_takes_silence_for_a_no(
    orchard: Orchard, orchestra: Orchestra
) -> None:
    champion, version = orchard.promote(), ask(orchard)
    for _ in range(8):
        attend(orchard, orchestra, timedelta(hours=10))
    asked, reminder, over = texts(orchard)
    assert reminder.startswith(f"for 1 day version {version} waits for a person")
    assert f"nobody answered within 3 days, so it is a no; version {champion} goes on serving" in over
    assert asked.startswith(f"version {version} waits for a person")
    attend(orchard, orchestra)
    assert (question(orchard, version).answer, stage(orchard, version)) == ("expired", "refused")
    assert kinds(orchard) == ["promote", "ask", "expire"]
    assert [(run, name) for run, name, _ in orchestra.ended] == [(question(orchard, version).run, "Closed")]
    with pytest.raises(Answered, match="nobody answered within 3 days"):
        answer(orchard, approving.approve, version)
    assert orchard.generations == [champion]


def test_an_answer_after_its_time_is_late_though_no_keeper_has_looked(orchard: Orchard) -> None:
    orchard.declare(('promote="approve"', 'promote="approve", approval_timeout=timedelta(hours=1)'))
    version = ask(orchard)
    orchard.ahead = timedelta(hours=1)
    assert approving.settle_by_alias(orchard, orchard.name, version, "somebody in MLflow") is None
    with pytest.raises(Answered, match="nobody answered within 1 hour"):
        answer(orchard, approving.approve, version)
    assert orchard.generations == []


def test_silence_is_no_failure_of_the_retraining_that_led_to_it(orchard: Orchard, orchestra: Orchestra) -> None:
    orchard.promote()
    intent, _ = orchard.store.intents.open(orchard.name, None, orchard.now())
    ask(orchard, intent=intent.id)
    attend(orchard, orchestra, timedelta(days=4))
    assert [one.outcome for one in orchard.store.intents.all(orchard.name)] == ["challenger"]


def test_a_form_that_was_lost_is_made_anew_and_people_are_not_told_twice(
    orchard: Orchard, orchestra: Orchestra
) -> None:
    version = ask(orchard)
    keeper = orchestra.keeper(orchard)
    keeper.forms.attend()
    first = question(orchard, version).run
    assert first is not None
    orchestra.states[first] = "Crashed"
    for _ in range(5):
        orchard.ahead += timedelta(seconds=10)
        keeper.forms.attend()
    second = question(orchard, version).run
    assert second not in (first, None)
    assert len(orchestra.runs) == 2
    assert len(texts(orchard)) == 1


def test_a_form_that_a_person_cancelled_stays_away_until_the_reminder(orchard: Orchard, orchestra: Orchestra) -> None:
    version = ask(orchard)
    attend(orchard, orchestra)
    first = question(orchard, version).run
    assert first is not None
    orchestra.states[first] = "Cancelled"
    attend(orchard, orchestra, timedelta(hours=12))
    assert len(orchestra.runs) == 1
    attend(orchard, orchestra, timedelta(days=1))
    assert len(orchestra.runs) == 2
    assert len(texts(orchard)) == 2


def test_a_form_at_work_is_left_to_end_by_itself_and_a_registry_that_was_away_hears_of_the_no_later(
    orchard: Orchard, orchestra: Orchestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ServerUnavailable("MLflow does not answer")

    version = ask(orchard)
    attend(orchard, orchestra)
    answer(orchard, approving.reject, version)
    with monkeypatch.context() as outage:
        outage.setattr(Registry, "tag", away)
        with pytest.raises(ServerUnavailable):
            attend(orchard, orchestra)
    busy = [False, True]
    monkeypatch.setattr(Orchestra, "end", lambda *_: busy.pop(0))
    attend(orchard, orchestra)
    assert len(orchard.store.approvals.unclosed()) == 1
    attend(orchard, orchestra)
    assert orchard.store.approvals.unclosed() == []
    assert stage(orchard, version) == "refused"
