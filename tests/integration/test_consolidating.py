from datetime import timedelta

import pytest
from loop_parts import Orchard
from store_parts import race
from test_watching import learn, send

from tasks.person_runs import retrain
from tasks.watching import watch


def answered(orchard: Orchard) -> None:
    """Let a drift be answered by a second generation, an hour and more after its first window."""
    orchard.serve()
    send(orchard, 3, shift=3.0)
    watch(orchard, orchard.name)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    if orchard.declared.governor.retrain == "suggest":
        retrain(orchard, orchard.name, incident.id, reason="it is suggested", actor="somebody")
    [intent] = orchard.store.intents.all(orchard.name)
    learn(orchard)
    orchard.store.intents.end(intent.id, "promoted", orchard.now())
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


@pytest.mark.parametrize("why", ["a person starts each retraining", "a person chose what serves", "nothing new came"])
def test_nothing_is_learned_once_more_where(orchard: Orchard, why: str) -> None:
    if why == "a person starts each retraining":
        orchard.declare(('promote="auto"', 'promote="auto", retrain="suggest"'))
    answered(orchard)
    if why == "a person chose what serves":
        orchard.serve("3")
        later(orchard)
    elif why == "nothing new came":
        orchard.ahead += timedelta(days=3)
    else:
        later(orchard)
    watch(orchard, orchard.name)
    assert [outcome for _, outcome in asked(orchard)] == ["promoted"]
