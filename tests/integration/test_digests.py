"""Many alerts at once: one message a channel, nothing lost, no other channel delayed (P16)."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from test_alerts import AT, Receiver, message, running

from monitoring.alerts import Channels, Sender, drain
from monitoring.digests import ABOVE, GATHER, SHOWN
from monitoring.effects import Effects, NewIncident
from monitoring.records import Message
from monitoring.store import Store, open_store

STORM = 1_000
SOAK = 10_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def ids(receiver: Receiver) -> list[str]:
    return [headers["webhook-id"] for _, headers, _ in receiver.got]


def named(receiver: Receiver) -> list[str]:
    """Every alert that was told, by itself or in a digest."""
    found = []
    for _, headers, body in receiver.got:
        data = json.loads(body)["data"]
        found += [one["id"] for one in data["alerts"]] if data["kind"] == "digest" else [headers["webhook-id"]]
    return found


def test_a_few_alerts_go_out_one_by_one_and_many_as_one_that_lists_them(store: Store, receiver: Receiver) -> None:
    channels = Channels(webhook_url=receiver.url)
    few = [message("webhook", f"few-{number}") for number in range(ABOVE)]
    store.outbox.put(few)
    drain(store, channels, AT, wait=10)
    assert ids(receiver) == [one.id for one in few]
    many = [
        message("webhook", f"many-{number}", severity="critical" if number == 7 else "info") for number in range(30)
    ]
    store.outbox.put([*many, message("log", "many-0")])
    drain(store, channels, AT + timedelta(minutes=2), wait=10)
    assert ids(receiver)[ABOVE].startswith("digest-")
    assert len(ids(receiver)) == ABOVE + 1
    assert sorted(named(receiver)) == sorted(one.id for one in [*few, *many])
    told = json.loads(receiver.got[-1][2])["data"]
    assert told["text"].startswith("30 alerts at once, of 1 project: 30 fault\n- 3 of 200 frames are constant")
    assert told["alerts"][0]["id"] == many[7].id  # what is urgent comes first
    assert store.outbox.waiting() == []


def test_the_log_shows_a_digests_alerts_below_it(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.outbox.put(
        [message("log", f"many-{number:02d}", text=f"frame {number:02d}\nis dark") for number in range(30)]
    )
    with caplog.at_level(logging.WARNING, "monitoring.alerts"):
        drain(store, Channels(), AT, wait=10)
    head, *lines = caplog.messages
    assert "30 alerts at once" in head
    assert [line.split(" is dark")[0] for line in lines] == [f"ALERT - frame {number:02d}" for number in range(SHOWN)]


def test_a_digest_that_fails_comes_again_under_its_id_and_nothing_of_it_is_lost(
    store: Store, receiver: Receiver
) -> None:
    channels = Channels(webhook_url=receiver.url)
    store.outbox.put([message("webhook", f"many-{number}") for number in range(30)])
    receiver.status = 503
    drain(store, channels, AT, wait=10)
    [(waiting, why)] = store.outbox.waiting()
    assert (waiting.attempts, "503" in why) == (1, True)
    receiver.status = 204
    store.outbox.put([message("webhook", "late")])
    drain(store, channels, AT + timedelta(seconds=30), wait=10)
    assert ids(receiver) == [waiting.id] * 2  # the late one is gathered for the next digest
    drain(store, channels, AT + GATHER, wait=10)
    assert ids(receiver)[2:] == ["late.webhook"]
    assert len(named(receiver)) == 61
    assert store.outbox.waiting() == []


def test_what_may_have_been_sent_joins_no_digest(store: Store, receiver: Receiver) -> None:
    store.outbox.put([message("webhook", "first")])
    [taken] = store.outbox.take("webhook", AT)  # and then its sender is killed, perhaps after sending it
    store.outbox.put([message("webhook", f"many-{number}") for number in range(30)])
    drain(store, Channels(webhook_url=receiver.url), AT, wait=10)
    assert len(ids(receiver)) == 2
    assert Counter(named(receiver))[taken.id] == 1
    assert taken.id in ids(receiver)


def test_a_digest_that_nobody_takes_is_parked_and_can_be_sent_again(store: Store, receiver: Receiver) -> None:
    store.outbox.put([message("webhook", f"many-{number}") for number in range(30)])
    [digest] = store.outbox.take("webhook", AT)
    store.outbox.failed(digest.id, "refused", AT + timedelta(hours=25))
    assert [one.id for one, _ in store.outbox.parked()] == [digest.id]
    assert store.outbox.take("webhook", AT + timedelta(hours=26)) == []
    store.outbox.unpark(digest.id, AT + timedelta(hours=27))
    drain(store, Channels(webhook_url=receiver.url), AT + timedelta(hours=27), wait=10)
    assert len(named(receiver)) == 30


@pytest.mark.parametrize("events", [STORM, pytest.param(SOAK, marks=pytest.mark.soak)])
def test_a_storm_of_incidents_is_some_messages_and_delays_no_other_channel(
    store: Store, receiver: Receiver, events: int
) -> None:
    with running(Receiver()) as dead:
        dead.status = 503
        channels = Channels(webhook_url=receiver.url, senders={"pager": to(dead)})
        per_second, told = events // 60 + 1, list[str]()
        for second in range(60):
            now = AT + timedelta(seconds=second)
            for number in range(second * per_second, min((second + 1) * per_second, events)):
                told += [one.id for one in open_one(store, f"p{number}", now) if one.channel == "webhook"]
            drain(store, channels, now, wait=10)
        for minute in (1, 2, 3):
            drain(store, channels, AT + timedelta(minutes=minute), wait=30)
    listed = named(receiver)
    count = sum(json.loads(body)["data"].get("count", 1) for _, _, body in receiver.got)
    assert len(told) == events == count
    assert len(ids(receiver)) <= 4
    assert len(set(ids(receiver))) == len(ids(receiver))
    assert set(listed) <= set(told)
    assert max(Counter(listed).values()) == 1
    waiting = Counter(one.channel for one, _ in store.outbox.waiting() if one.kind == "alert")
    assert set(waiting) == {"pager"}  # the dead one alone
    assert len(dead.got) <= 30


def to(server: Receiver) -> Sender:
    """Send to a second receiver, as a channel of the caller's own."""
    return Channels(webhook_url=server.url).sender("webhook")


def open_one(store: Store, project: str, now: datetime) -> tuple[Message, ...]:
    """Open an incident in a project of its own, as a verdict does."""
    facts = {"project": project, "kind": "fault", "text": f"FAULT {project}: a sensor is dead", "links": {}}
    made = tuple(Message(f"{project}.0.fault.{one}", one, "alert", facts, now) for one in ("webhook", "pager"))
    return store.record(Effects(opened=NewIncident(project, "fault", 1, "dead"), messages=made), now).messages


def test_a_round_with_a_hundred_dead_alerts_costs_the_dead_channel_few_tries(store: Store, receiver: Receiver) -> None:
    receiver.status = 503
    store.outbox.put([message("webhook", f"old-{number}") for number in range(100)])
    channels = Channels(webhook_url=receiver.url)
    for second in range(0, 600, 60):
        drain(store, channels, AT + timedelta(seconds=second), wait=10)
    assert len(receiver.got) <= 10
    assert len(set(ids(receiver))) == 1
