from dataclasses import replace
from datetime import timedelta

import numpy as np
from loop_parts import WINDOW, Orchard, plums

from data.schema import Rows
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
    source = orchard.declared.source().head(60)  # type: ignore[union-attr]
    asked = {name: source[name].to_numpy(float) + (name == "size") for name in ("size", "sugar")}
    ids = orchard.answer(asked)
    stored = orchard.store.predictions.find(orchard.name, ids)
    assert len(stored) == 60
    again = [replace(stored[id_], id=key) for id_, key in zip(ids, source["plum"].astype(str), strict=True)]
    orchard.store.predictions.append(again)
    other = replace(
        orchard, shared=type(orchard.batches)(orchard.settings.home / "registry", str(orchard.settings.home / "remote"))
    )
    ingest(other, orchard.name)
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["skew"]
