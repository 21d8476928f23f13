from datetime import timedelta

from loop_parts import WINDOW, Orchard, plums

from tasks.timeline import timeline
from tasks.watching import watch


def test_a_window_is_partial_until_it_is_mature_and_realised_from_then_on(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    ids = orchard.answer(rows, ago=timedelta(minutes=50))
    watch(orchard, orchard.name)
    [point] = timeline(orchard, orchard.name)
    assert (point.rows, point.labelled, point.partial, point.realised) == (WINDOW, 0, None, None)
    orchard.label(ids[:25], rows)
    [point] = timeline(orchard, orchard.name)
    assert (point.labelled, point.metric, point.realised, point.outcome_performance) == (25, "accuracy", None, None)
    assert point.partial is not None
    value, low, high = point.partial
    assert 0 <= low <= value <= high <= 1
    assert low < high
    orchard.ahead = timedelta(minutes=15)
    watch(orchard, orchard.name)
    [point] = timeline(orchard, orchard.name)
    assert (point.partial, point.outcome_performance) == (None, "ok")
    assert point.realised == (value, low, high)
