"""Requests with their senders, approvals, API clients, replies to idempotency keys, shadows and canaries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Widen what is there, then make the new tables."""
    op.drop_index("ux_predictions_sequence", "predictions")
    op.add_column("predictions", sa.Column("trial", sa.Integer(), nullable=False, server_default="0"))
    lane = ["project", "generation", "trial", "sequence"]
    op.create_index("ux_predictions_sequence", "predictions", lane, unique=True)
    with op.batch_alter_table("requests") as batch:
        batch.add_column(sa.Column("delivery", sa.String(length=200), nullable=True))
        batch.add_column(sa.Column("reason", sa.Text(), nullable=True))
        batch.add_column(sa.Column("run", sa.String(length=200), nullable=True))
        batch.add_column(sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"))
        batch.create_unique_constraint("uq_requests_delivery", ["delivery"])
    _people()
    _service()
    _trials()


def _one_open(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def _people() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("champion", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("reminded_at", TIME, nullable=True),
        sa.Column("run", sa.String(length=200), nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("answer", sa.String(length=20), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    _one_open("ux_approvals_open", "approvals", ["project", "version"], "answered_at IS NULL")


def _service() -> None:
    op.create_table(
        "clients",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("projects", sa.Text(), nullable=False),
        sa.Column("rows_per_second", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("revoked_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
        sa.UniqueConstraint("secret_sha256", name="uq_clients_secret_sha256"),
    )
    _one_open("ux_clients_name", "clients", ["name"], "revoked_at IS NULL")
    op.create_table(
        "replies",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("client", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("project", "client", "key", name="pk_replies"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_replies_at", "replies", ["at"])


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("margins", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("measured", sa.Text(), nullable=True),
        sa.Column("compared", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
    )
    _one_open("ux_trials_open", "trials", ["project"], "ended_at IS NULL")
    op.create_table(
        "shadows",
        sa.Column("trial", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("prediction_id", sa.String(length=200), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("trial", "project", "prediction_id", name="pk_shadows"),
    )
    op.create_index("ix_shadows_at", "shadows", ["trial", "at"])
