"""What serves, since when and why; every decision with its inputs; what the registry's alias should say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from data.errors import LostRace
from monitoring import events
from monitoring.effects import NewDecision
from monitoring.records import Decision, Generation, Message
from monitoring.store import chain, outbox
from monitoring.store.answers import answer_by
from monitoring.store.endings import end_by
from monitoring.store.engine import Database, reads, writes
from monitoring.store.intents import end_once
from monitoring.store.leases import check_token
from monitoring.store.references import put as put_reference
from monitoring.store.tables import aliases, decisions, generations, intents


@dataclass(frozen=True)
class AliasState:
    """Versions that `champion` was last meant to name, and was last known to; any other was set by a person."""

    intended: str | None = None
    written: str | None = None


class Ledger:
    """Generations, decisions and the alias; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @reads
    def generation(self, connection: Connection, project: str) -> Generation | None:
        """Return what serves."""
        return serving(connection, project)

    @reads
    def generations(self, connection: Connection, project: str) -> list[Generation]:
        """Return everything that has served, oldest first."""
        query = select(generations).where(generations.c.project == project).order_by(generations.c.number)
        return [_generation(row) for row in connection.execute(query)]

    @reads
    def rollbacks(self, connection: Connection, project: str) -> frozenset[int]:
        """Return the generations by which an earlier version came back."""
        query = select(decisions.c.inputs).where(decisions.c.project == project, decisions.c.kind == "rollback")
        return frozenset(inputs["generation"] for inputs in connection.scalars(query) if "generation" in inputs)

    @reads
    def projects(self, connection: Connection) -> list[str]:
        """Return the projects of which something serves, by name."""
        return list(connection.scalars(select(generations.c.project).distinct().order_by(generations.c.project)))

    @reads
    def judged(self, connection: Connection) -> list[str]:
        """Return the projects of which a version was ever judged, by name, whether or not one serves."""
        query = select(decisions.c.project).where(decisions.c.kind.in_(("judge", "ask", "refuse"))).distinct()
        return list(connection.scalars(query.order_by(decisions.c.project)))

    @writes
    def append_generation(
        self,
        connection: Connection,
        expected: int,
        new: Generation,
        decisions: Sequence[NewDecision] = (),
        *,
        token: int | None = None,
        intent: int | None = None,
        reference: bytes | None = None,
        messages: Sequence[Message] = (),
        approval: int | None = None,
    ) -> Generation:
        """Make `new` serve if generation `expected` (0: none) still does; it gets the next number.

        Its decisions, its reference, its messages, the alias to be written, the end of the intent that asked for it
        and of the trial beside the one before, and the answers to what people were asked stand or fall with it.
        `approval`: the question by whose answer it serves.

        Raises:
            Answered: `approval` is given and has an answer.
            LostRace: another promotion came first.
            StaleToken: `token` is given and is no longer the lease's.
        """
        new = replace(new, number=expected + 1)
        settle_intent(connection, new.project, token, intent, "promoted", new.at, why=promoted(new))
        newest = serving(connection, new.project)
        found = newest.number if newest else 0
        if found != expected:
            raise LostRace(f"{new.project} is at generation {found} already, not at {expected}: judge anew")
        connection.execute(insert(generations).values(**_columns(new)))
        for decision in (*decisions, *answer_by(connection, new, approval), *end_by(connection, new)):
            add_decision(connection, decision, new.at)
        if reference is not None:
            why = f"generation {new.number}"
            put_reference(connection, new.project, new.number, reference, reason=why, now=new.at)
        outbox.put(connection, messages)
        _set_alias(connection, new.project, intended=new.version)
        return new

    @writes
    def decide(
        self,
        connection: Connection,
        project: str,
        *,
        kind: str,
        subject: str,
        reason: str,
        inputs: Mapping[str, Any],
        now: datetime,
        messages: Sequence[Message] = (),
        token: int | None = None,
        intent: int | None = None,
        outcome: str = "",
    ) -> Decision:
        """Write one decision, the messages that tell of it, and the `outcome` of the intent that it settles.

        Raises: StaleToken: `token` is given and is no longer the lease's.
        """
        settle_intent(connection, project, token, intent, outcome, now, why=reason)
        outbox.put(connection, messages)
        return add_decision(connection, NewDecision(project, kind, subject, reason, inputs), now)

    @reads
    def decisions(
        self,
        connection: Connection,
        project: str | None = None,
        *,
        subject: str | None = None,
        kinds: Iterable[str] = (),
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Decision]:
        """Return decisions, newest first; `since` is included."""
        query = select(decisions).order_by(decisions.c.id.desc()).limit(limit)
        if project is not None:
            query = query.where(decisions.c.project == project)
        if subject is not None:
            query = query.where(decisions.c.subject == subject)
        if wanted := list(kinds):
            query = query.where(decisions.c.kind.in_(wanted))
        if since is not None:
            query = query.where(decisions.c.at >= since)
        return [_decision(row) for row in connection.execute(query)]

    @reads
    def why(
        self,
        connection: Connection,
        subject: str,
        project: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Decision]:
        """Return the decisions that led to `subject` and followed from it, oldest first.

        `subject`: "incident 3", "intent 2", "run …", "version 7" or "generation 4". Numbers of versions and
        generations are a project's own, so without `project` every project's is followed. Only the first `limit`
        lines of the ledger from `since` on are looked at.
        """
        query = select(decisions).order_by(decisions.c.id).limit(limit)
        query = query if project is None else query.where(decisions.c.project == project)
        query = query if since is None else query.where(decisions.c.at >= since)
        lines = [_decision(row) for row in connection.execute(query)]
        promises = connection.execute(select(intents.c.project, intents.c.id, intents.c.incident_id, intents.c.run))
        serving = connection.execute(select(generations.c.project, generations.c.number, generations.c.version))
        return chain.follow(subject, lines, chain.links_of(promises.all(), serving.all()))

    @reads
    def alias(self, connection: Connection, project: str) -> AliasState:
        """Return what the registry's alias should name, and what it was last known to name."""
        row = connection.execute(select(aliases).where(aliases.c.project == project)).first()
        return AliasState() if row is None else AliasState(row.intended, row.written)

    @writes
    def intend_alias(self, connection: Connection, project: str, version: str) -> None:
        """Note which version the alias is about to name; comes before the registry is told."""
        _set_alias(connection, project, intended=version)

    @writes
    def wrote_alias(self, connection: Connection, project: str, version: str) -> None:
        """Note which version the registry's alias names now."""
        _set_alias(connection, project, written=version)


def add_decision(connection: Connection, new: NewDecision, now: datetime) -> Decision:
    """Write one decision, whose subject is known by now."""
    values = {
        "project": new.project,
        "at": now,
        "kind": new.kind,
        "subject": new.subject,
        "reason": new.reason,
        "inputs": new.inputs,
    }
    number = connection.execute(insert(decisions).values(**values)).inserted_primary_key
    assert number is not None
    made = Decision(number[0], new.project, now, new.kind, new.subject or "", new.reason, new.inputs)
    if heard := events.of_decision(made):
        outbox.put(connection, [heard])
    return made


def settle_intent(
    connection: Connection,
    project: str,
    token: int | None,
    intent: int | None,
    outcome: str,
    now: datetime,
    *,
    why: str,
) -> None:
    """End an intent, and tell people, in the transaction of what came of it, if its run still holds the lease.

    Raises: StaleToken.
    """
    if token is not None:
        check_token(connection, project, token)
    if intent is not None:
        end_once(connection, outcome, now, intents.c.id == intent, why=why)


def promoted(new: Generation) -> str:
    """Say what serves, and why."""
    return f"version {new.version} serves as generation {new.number}: {new.reason}"


def serving(connection: Connection, project: str) -> Generation | None:
    """Return what serves, as this transaction sees it."""
    query = select(generations).where(generations.c.project == project).order_by(generations.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _generation(row)


def _set_alias(connection: Connection, project: str, **values: str) -> None:
    if connection.execute(update(aliases).where(aliases.c.project == project).values(**values)).rowcount == 0:
        connection.execute(insert(aliases).values(project=project, **values))


def _columns(new: Generation) -> dict[str, Any]:
    return {
        "project": new.project,
        "number": new.number,
        "version": new.version,
        "run_id": new.run_id,
        "manifest_sha256": new.manifest_sha256,
        "at": new.at,
        "actor": new.actor,
        "reason": new.reason,
        "gates": new.gates,
        "waived": list(new.waived),
        "cut": new.cut,
    }


def _generation(row: Row[Any]) -> Generation:
    return Generation(
        row.project,
        row.number,
        row.version,
        row.run_id,
        row.manifest_sha256,
        row.at,
        row.actor,
        row.reason,
        row.gates,
        tuple(row.waived),
        row.cut,
    )


def _decision(row: Row[Any]) -> Decision:
    return Decision(row.id, row.project, row.at, row.kind, row.subject, row.reason, row.inputs)
