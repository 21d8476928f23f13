from datetime import timedelta

import pytest
from loop_parts import Orchard, judgement
from store_parts import race
from test_watching import learn, send

from tasks import asking
from tasks.acting import declare_fault
from tasks.observing import EVER
from tasks.person_runs import retrain
from tasks.watching import watch


def answered(orchard: Orchard, outcome: str = "promoted") -> None:
    """Let a drift be answered by a second generation, an hour and more after its first window."""
    orchard.serve()
    send(orchard, 3, shift=3.0)
    watch(orchard, orchard.name)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    if orchard.declared.governor.retrain == "suggest":
        retrain(orchard, orchard.name, incident.id, reason="it is suggested", actor="somebody")
    [intent] = orchard.store.intents.all(orchard.name)
    learn(orchard)
    orchard.store.intents.end(intent.id, outcome, orchard.now())
    orchard.serve("2")


def asked(orchard: Orchard) -> list[tuple[int | None, str | None]]:
    return [(one.incident_id, one.outcome) for one in orchard.store.intents.all(orchard.name)]


def later(orchard: Orchard) -> None:
    """Let three days pass, with labelled rows like those that the second generation is referenced on."""
    orchard.ahead += timedelta(days=3)
    send(orchard, 3)


def test_a_world_that_has_lasted_twice_as_long_is_learned_once_more_until_that_gains_nothing(orchard: Orchard) -> None:
    answered(orchard)
    send(orchard, 3)
    watch(orchard, orchard.name)
    [(incident, _)] = asked(orchard)  # not yet
    later(orchard)
    race(4, lambda _: watch(orchard.another(), orchard.name))
    assert asked(orchard) == [(incident, "promoted"), (incident, None)]
    [_, promised] = orchard.store.ledger.decisions(orchard.name, kinds=("retrain",))[::-1]
    assert promised.subject == f"incident {incident}"
    assert "the world that version 2 was made for" in promised.reason
    assert "has lasted twice as long by now" in promised.reason
    orchard.store.intents.end(orchard.store.intents.all(orchard.name)[-1].id, "kept", orchard.now())
    learn(orchard)
    later(orchard)
    watch(orchard, orchard.name)
    assert asked(orchard) == [(incident, "promoted"), (incident, "kept")]
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_of_a_world_that_labels_tell_of_later_nothing_is_learned_once_more_before_they_do(orchard: Orchard) -> None:
    orchard.declare(("delay=timedelta(hours=1)", "delay=timedelta(days=10)"))
    orchard.serve()
    send(orchard, 3)
    orchard.ahead += timedelta(days=11)
    learned = [one.id for one in orchard.store.predictions.newest(orchard.name, 1, trial=0, since=EVER, limit=1000)]
    send(orchard, 2)  # of the old world as well; their labels come while the second generation serves
    orchard.ahead += timedelta(days=2)
    send(orchard, 3, shift=3.0)
    watch(orchard, orchard.name)
    [intent] = orchard.store.intents.all(orchard.name)
    orchard.store.predictions.mark_harvested(orchard.name, learned, "all")
    orchard.store.intents.end(intent.id, "promoted", orchard.now())
    orchard.serve("2")
    orchard.ahead += timedelta(days=9)
    send(orchard, 3)
    watch(orchard, orchard.name)
    assert [outcome for _, outcome in asked(orchard)] == ["promoted"]
    orchard.ahead += timedelta(days=2)
    watch(orchard, orchard.name)
    assert [outcome for _, outcome in asked(orchard)] == ["promoted", None]


def test_what_a_person_allowed_to_serve_is_learned_once_more_too(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 3, shift=3.0)
    watch(orchard, orchard.name)
    [intent] = orchard.store.intents.all(orchard.name)
    learn(orchard)
    asking.ask(orchard, orchard.declared, "2", judgement("passed"), champion="1", intent=intent.id, token=None)
    orchard.serve("2")
    later(orchard)
    watch(orchard, orchard.name)
    assert [outcome for _, outcome in asked(orchard)] == ["challenger", None]


NOT = (
    "a person starts each retraining",
    "a person chose what serves",
    "a person called it a fault",
    "a person allowed another version",
    "nothing new came",
)


@pytest.mark.parametrize("why", NOT)
def test_nothing_is_learned_once_more_where(orchard: Orchard, why: str) -> None:
    if why == "a person starts each retraining":
        orchard.declare(('promote="auto"', 'promote="auto", retrain="suggest"'))
    answered(orchard, "challenger" if why == "a person allowed another version" else "promoted")
    if why == "a person called it a fault":
        [incident] = orchard.store.incidents.open_ones(orchard.name)
        declare_fault(orchard, incident.id, "somebody", "a broken scale")
    if why == "a person chose what serves":
        orchard.serve("3")
        later(orchard)
    elif why == "nothing new came":
        orchard.ahead += timedelta(days=3)
        send(orchard, 3)
        learn(orchard)
    else:
        later(orchard)
    watch(orchard, orchard.name)
    assert len(asked(orchard)) == 1
    assert orchard.store.incidents.open_ones(orchard.name) == []
