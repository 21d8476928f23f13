from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from loop_parts import WINDOW, Orchard, plums

from data.schema import Rows
from tasks import ingestion
from tasks.harvesting import harvestable
from tasks.ingestion import ingest
from tasks.skew import look_for_skew
from tasks.watching import watch


def landed(rows: Rows, ids: list[str]) -> Rows:
    return {**rows, "plum": np.array(ids, dtype=object)}


def test_a_batch_with_other_values_than_the_service_was_asked_about_is_one_fault_until_one_lands_without(
    orchard: Orchard,
) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    ids = orchard.answer(rows)
    scaled = landed({**rows, "size": rows["size"] * 2.54}, ids)
    found = look_for_skew(orchard, orchard.declared, "monday", scaled)
    assert list(found) == ["size"]
    assert "differs in 100% of 40 rows (r00000: " in found["size"]
    look_for_skew(orchard, orchard.declared, "tuesday", scaled)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    assert (incident.kind, incident.blocks) == ("skew", True)
    assert orchard.outbox() == ["log"]
    watch(orchard, orchard.name)  # a healthy window says nothing of the source
    assert orchard.store.incidents.open_ones(orchard.name) == [incident]
    assert look_for_skew(orchard, orchard.declared, "wednesday", landed(rows, ids)) == {}
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_skew_is_told_each_time_it_opens_with_the_way_to_its_incident_and_again_until_somebody_knows(
    orchard: Orchard,
) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    ids = orchard.answer(rows)
    for _ in range(2):
        look_for_skew(orchard, orchard.declared, "monday", landed({**rows, "size": rows["size"] * 2.54}, ids))
        [incident] = orchard.store.incidents.open_ones(orchard.name)
        told = orchard.store.outbox.due(orchard.now() + timedelta(days=1), 100)
        [alert] = [one for one in told if one.kind == "alert" and one.incident_id == incident.id]
        assert alert.payload["links"]["incident"].endswith(f"/incidents/{incident.id}")
        assert incident.severity == "critical"  # which is what a reminder asks for
        look_for_skew(orchard, orchard.declared, "tuesday", landed(rows, ids))


def test_what_was_asked_under_skew_is_never_learned_from_even_once_it_is_over(orchard: Orchard) -> None:
    orchard.serve()
    parts = {name: plums(WINDOW, seed=n) for n, name in enumerate("abcde")}
    ids = {}
    for n, (name, rows) in enumerate(parts.items()):
        ids[name] = orchard.answer(rows, prefix=name, ago=timedelta(hours=9 - n))
        orchard.label(ids[name], rows)
    watch(orchard, orchard.name)

    def land(name: str, *, skewed: bool) -> None:
        rows = parts[name]
        size = rows["size"] * (2.54 if skewed else 1)
        look_for_skew(orchard, orchard.declared, name, landed({**rows, "size": size}, ids[name]))

    def left() -> set[str]:
        found = {one.id[0] for one in harvestable(orchard, orchard.declared)}
        assert orchard.store.labels.count_unharvested(orchard.name) == len(found) * WINDOW
        return found

    land("a", skewed=False)
    land("b", skewed=True)
    assert left() == {"a"}  # nobody knows whether it is over
    land("c", skewed=True)
    land("c", skewed=True)
    land("e", skewed=False)
    assert orchard.store.incidents.open_ones(orchard.name) == []
    assert left() == {"a", "e"}  # of "d" nobody knows


def test_skew_is_looked_for_again_where_the_ingest_died_before_it_had(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    orchard.serve()
    other = asked_otherwise(orchard)
    for where in ("look_for_skew", "record"):
        with monkeypatch.context() as crash:
            crash.setattr(ingestion, where, killed)
            with pytest.raises(Killed):
                ingest(other, orchard.name)
    for _ in range(2):
        ingest(other, orchard.name)
    assert [one.kind for one in orchard.store.incidents.recent(orchard.name, 9)] == ["skew"]
    [line] = orchard.store.ledger.decisions(orchard.name, kinds=("ingest",))
    assert line.inputs["accepted"] == 320


def test_a_corrected_value_here_and_there_rounding_and_rows_nobody_asked_about_are_no_skew(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(4 * WINDOW)
    ids = orchard.answer(rows)
    size = rows["size"].astype(np.float32).astype(float)
    size[7] += 1
    assert look_for_skew(orchard, orchard.declared, "a", landed({**rows, "size": size}, ids)) == {}
    strangers = landed({**rows, "size": rows["size"] + 1}, [f"other-{one}" for one in ids])
    assert look_for_skew(orchard, orchard.declared, "b", strangers) == {}
    few = {name: values[:10] for name, values in landed({**rows, "size": rows["size"] + 1}, ids).items()}
    assert look_for_skew(orchard, orchard.declared, "c", few) == {}
    nulls = landed({**rows, "size": np.full(4 * WINDOW, np.nan)}, ids)
    assert list(look_for_skew(orchard, orchard.declared, "d", nulls)) == ["size"]


def test_an_ingest_looks_for_skew_by_itself(orchard: Orchard) -> None:
    orchard.serve()
    ingest(asked_otherwise(orchard), orchard.name)
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["skew"]


def asked_otherwise(orchard: Orchard) -> Orchard:
    """Let the service be asked about rows as the source does not have them; return a home without a batch."""
    source = orchard.declared.source().head(60)  # type: ignore[union-attr]
    asked = {name: source[name].to_numpy(float) + (name == "size") for name in ("size", "sugar")}
    ids = orchard.answer(asked)
    stored = orchard.store.predictions.find(orchard.name, ids)
    assert len(stored) == 60
    again = [replace(stored[id_], id=key) for id_, key in zip(ids, source["plum"].astype(str), strict=True)]
    orchard.store.predictions.append(again)
    return replace(
        orchard, shared=type(orchard.batches)(orchard.settings.home / "registry", str(orchard.settings.home / "remote"))
    )
