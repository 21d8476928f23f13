"""The tables, as the newest migration leaves them; a test holds the two equal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)


class Utc(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out; SQLite keeps them as text of fixed width, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a time whose zone nobody knows."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give back the zone that SQLite forgets."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """JSON as text: a type that SQLite calls JSON would turn "1.0" into 1. None is NULL, and so is a NaN inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write numpy's scalars as numbers."""
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
        return None if value is None else orjson.dumps(value, default=_plain, option=options).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read what was written."""
        return None if value is None else orjson.loads(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Serial = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts by itself there


def _one_open(name: str, condition: str, *columns: str) -> Index:
    """Return an index under which at most one row with these columns meets the condition."""
    return Index(name, *columns, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))


predictions = Table(
    "predictions",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("id", String(200), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("trial", Integer, nullable=False, server_default="0"),  # 0: the champion answered
    Column("sequence", BigInteger, nullable=False),
    Column("at", Utc, nullable=False),
    Column("row_time", Utc, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("output", Json, nullable=False),
    Index("ux_predictions_sequence", "project", "generation", "trial", "sequence", unique=True),
    Index("ix_predictions_row_time", "project", "row_time"),
    Index("ix_predictions_window", "project", "generation", "row_time"),
)

labels = Table(
    "labels",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("prediction_id", String(200), primary_key=True),
    Column("value", Json, nullable=False),
    Column("at", Utc, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("corrections", Integer, nullable=False),
    Column("harvest", String(80)),
    ForeignKeyConstraint(["project", "prediction_id"], ["predictions.project", "predictions.id"]),
    Index("ix_labels_harvest", "project", "harvest"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("check_name", String(20), nullable=False),
    Column("window_index", Integer, nullable=False),
    Column("window_start", Utc, nullable=False),
    Column("window_end", Utc, nullable=False),
    Column("start_row", BigInteger),
    Column("end_row", BigInteger),
    Column("outcome", String(20), nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("report", Json),
    Index("ux_verdicts_window", "project", "generation", "check_name", "window_index", unique=True),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Column("acknowledged_at", Utc),
    Column("closed_at", Utc),
    Column("closed_why", Text),
    Column("severity", String(20), nullable=False, server_default="warning"),  # info, warning, critical
    Column("updated_at", Utc),
    Column("acknowledged_by", String(200)),
    Column("snoozed_until", Utc),
    Column("snoozed_by", String(200)),
    Column("first_window", Integer),  # of its generation, that was bad
    Column("last_window", Integer),
    Column("declared_by", String(200)),  # the person who said that it is a broken sensor
    _one_open("ux_incidents_open", "closed_at IS NULL", "project", "kind"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("channel", String(80), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("payload", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Utc, nullable=False),
    Column("delivered_at", Utc),
    Column("parked_at", Utc),
    Column("error", Text),
    Column("incident_id", BigInteger),  # what it tells of, if it tells of an incident
    Column("tried_at", Utc),  # when it was first about to be sent; it goes on under this id
    Column("digest", String(200)),  # the message that tells of it among others
    Index("ix_outbox_due", "delivered_at", "parked_at", "next_at"),
    Index("ix_outbox_incident", "incident_id", "channel"),
)

generations = Table(
    "generations",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", String(80), nullable=False),
    Column("run_id", String(80), nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("at", Utc, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("gates", Json, nullable=False),
    Column("waived", Json, nullable=False),
    Column("cut", Utc),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("at", Utc, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("inputs", Json, nullable=False),
    Index("ix_decisions_subject", "project", "subject"),
    Index("ix_decisions_newest", "project", "id"),
    Index("ix_decisions_kind", "project", "kind", "id"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("intended", String(80)),
    Column("written", String(80)),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("version", String(80), nullable=False),
    Column("source", String(80), nullable=False),
    Column("delivery", String(200), unique=True),  # the webhook's own id: a replayed one is known
    Column("received_at", Utc, nullable=False),
    Column("handled_at", Utc),
    Column("outcome", Text),
    Column("reason", Text),
    Column("run", String(200)),  # the orchestrator's run that judges the version anew
    Column("attempt", Integer, nullable=False, server_default="0"),
    _one_open("ux_requests_open", "handled_at IS NULL", "project", "version"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("version", String(80), nullable=False),
    Column("champion", String(80)),  # what it was judged against
    Column("reason", Text, nullable=False),
    Column("asked_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("told_at", Utc),  # when people were sent the question
    Column("reminded_at", Utc),
    Column("run", String(200)),  # the orchestrator's run that shows the form
    Column("answered_at", Utc),
    Column("answer", String(20)),  # approved, rejected, expired, void
    Column("actor", String(200)),
    Column("why", Text),
    Column("closed_at", Utc),  # when form and registry had been told of the answer
    _one_open("ux_approvals_open", "answered_at IS NULL", "project", "version"),
)

clients = Table(
    "clients",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("projects", Json, nullable=False),  # none named: all
    Column("rows_per_second", Integer),
    Column("created_at", Utc, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("revoked_at", Utc),
    Column("revoked_by", String(200)),
    _one_open("ux_clients_name", "revoked_at IS NULL", "name"),
)

replies = Table(
    "replies",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("client", String(80), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("ids", Json, nullable=False),  # of the predictions that answered, in their order
    Column("at", Utc, nullable=False),
    Index("ix_replies_at", "at"),
    sqlite_with_rowid=False,
)

trials = Table(
    "trials",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("version", String(80), nullable=False),
    Column("run_id", String(80), nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("generation", Integer, nullable=False),  # the champion's, beside which it runs
    Column("mode", String(20), nullable=False),  # shadow, canary
    Column("share", Float, nullable=False),
    Column("margins", Json, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("ended_at", Utc),
    Column("outcome", String(40)),
    Column("reason", Text),
    Column("measured", Json),  # what the service counted so far: monitoring.tally
    Column("compared", Json),  # what the keeper made of it last
    _one_open("ux_trials_open", "ended_at IS NULL", "project"),
)

shadows = Table(
    "shadows",
    metadata,
    Column("trial", BigInteger, primary_key=True),
    Column("project", String(80), primary_key=True),
    Column("prediction_id", String(200), primary_key=True),
    Column("at", Utc, nullable=False),
    Column("output", Json, nullable=False),
    Index("ix_shadows_at", "trial", "at"),
)

leases = Table(
    "leases",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("fence", BigInteger, nullable=False),  # the newest token given to anybody
    Column("token", BigInteger),  # the holder's
    Column("holder", String(200)),
    Column("expires_at", Utc),
)

intents = Table(
    "intents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("incident_id", BigInteger),
    Column("token", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("run", String(200)),
    Column("ended_at", Utc),
    Column("outcome", String(200)),
    Column("actor", String(200)),  # the person who asked for it; none: the governor
    Column("clock_at", Utc),  # when it was opened by the project's own clock, in a replay
    Column("spent", Float, nullable=False, server_default="0"),  # seconds of attempts that died
    _one_open("ux_intents_live", "ended_at IS NULL", "incident_id"),
    Index("ix_intents_project", "project", "opened_at"),
)

references = Table(
    "reference_revisions",
    metadata,
    Column("project", String(80), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Utc, nullable=False),
    Column("incident_id", BigInteger),  # the change that was accepted into it
    Column("actor", String(200)),
    Column("first_window", Integer),  # in which the change began, and the last one accepted with it
    Column("last_window", Integer),
)

acceptances = Table(
    "acceptances",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("incident_id", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("asked_at", Utc, nullable=False),
    Column("run", String(200)),  # the orchestrator's run that makes the new reference
    Column("ended_at", Utc),
    Column("outcome", Text),
    Column("revision", Integer),  # of the generation's reference
    _one_open("ux_acceptances_open", "ended_at IS NULL", "incident_id"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("project", String(80), nullable=False),
    Column("kind", String(20), nullable=False),  # promotion, refusal
    Column("version", String(80), nullable=False),  # what was promoted or refused
    Column("against", String(80), nullable=False),  # the champion it replaced, or did not
    Column("generation", Integer, nullable=False),  # that served while it was settled
    Column("decided_at", Utc, nullable=False),
    Column("settled_at", Utc, nullable=False),
    Column("paid", String(20), nullable=False),  # yes, no, unclear
    Column("detail", Json, nullable=False),
    Index("ux_receipts_decision", "project", "kind", "version", "generation", unique=True),
)

notes = Table(
    "notes",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", Json, nullable=False),
    Column("at", Utc, nullable=False),
)
