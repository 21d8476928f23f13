"""Incidents that are updated and snoozed, accepted references, receipts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Widen what is there, then make the new tables."""
    for column in (
        sa.Column("severity", sa.String(length=20), nullable=False, server_default="warning"),
        sa.Column("updated_at", TIME, nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=True),
        sa.Column("snoozed_until", TIME, nullable=True),
        sa.Column("snoozed_by", sa.String(length=200), nullable=True),
        sa.Column("first_window", sa.Integer(), nullable=True),
        sa.Column("last_window", sa.Integer(), nullable=True),
        sa.Column("declared_by", sa.String(length=200), nullable=True),
    ):
        op.add_column("incidents", column)
    for column in (
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("tried_at", TIME, nullable=True),
        sa.Column("digest", sa.String(length=200), nullable=True),
    ):
        op.add_column("outbox", column)
    op.create_index("ix_outbox_incident", "outbox", ["incident_id", "channel"])
    op.add_column("intents", sa.Column("actor", sa.String(length=200), nullable=True))
    op.add_column("intents", sa.Column("clock_at", TIME, nullable=True))
    op.add_column("intents", sa.Column("spent", sa.Float(), nullable=False, server_default="0"))
    op.add_column("reference_revisions", sa.Column("incident_id", sa.BigInteger(), nullable=True))
    op.add_column("reference_revisions", sa.Column("actor", sa.String(length=200), nullable=True))
    op.add_column("reference_revisions", sa.Column("first_window", sa.Integer(), nullable=True))
    op.add_column("reference_revisions", sa.Column("last_window", sa.Integer(), nullable=True))
    op.create_index("ix_decisions_newest", "decisions", ["project", "id"])
    op.create_index("ix_decisions_kind", "decisions", ["project", "kind", "id"])
    _acceptances()
    _receipts()


def _acceptances() -> None:
    op.create_table(
        "acceptances",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("run", sa.String(length=200), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_acceptances"),
    )
    where = sa.text("ended_at IS NULL")
    columns = ["incident_id"]
    op.create_index(
        "ux_acceptances_open", "acceptances", columns, unique=True, sqlite_where=where, postgresql_where=where
    )


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("against", sa.String(length=80), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=False),
        sa.Column("paid", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
    )
    columns = ["project", "kind", "version", "generation"]
    op.create_index("ux_receipts_decision", "receipts", columns, unique=True)
