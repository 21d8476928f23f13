"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    _answers()
    _judgements()
    _ledger()
    _retraining()


def _answers() -> None:
    op.create_table(
        "predictions",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("row_time", TIME, nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name="pk_predictions"),
    )
    op.create_index("ix_predictions_row_time", "predictions", ["project", "row_time"])
    op.create_index("ix_predictions_window", "predictions", ["project", "generation", "row_time"])
    op.create_index("ux_predictions_sequence", "predictions", ["project", "generation", "sequence"], unique=True)
    op.create_table(
        "labels",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("prediction_id", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("corrections", sa.Integer(), nullable=False),
        sa.Column("harvest", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(
            ["project", "prediction_id"], ["predictions.project", "predictions.id"], name="fk_labels_predictions"
        ),
        sa.PrimaryKeyConstraint("project", "prediction_id", name="pk_labels"),
    )
    op.create_index("ix_labels_harvest", "labels", ["project", "harvest"])


def _judgements() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("check_name", sa.String(length=20), nullable=False),
        sa.Column("window_index", sa.Integer(), nullable=False),
        sa.Column("window_start", TIME, nullable=False),
        sa.Column("window_end", TIME, nullable=False),
        sa.Column("start_row", sa.BigInteger(), nullable=True),
        sa.Column("end_row", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
    )
    op.create_index(
        "ux_verdicts_window", "verdicts", ["project", "generation", "check_name", "window_index"], unique=True
    )
    op.create_table(
        "incidents",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("closed_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index(
        "ux_incidents_open",
        "incidents",
        ["project", "kind"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("parked_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_due", "outbox", ["delivered_at", "parked_at", "next_at"])
    op.create_table(
        "reference_revisions",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("project", "generation", "revision", name="pk_reference_revisions"),
    )


def _ledger() -> None:
    op.create_table(
        "generations",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("run_id", sa.String(length=80), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.Column("waived", sa.Text(), nullable=False),
        sa.Column("cut", TIME, nullable=True),
        sa.PrimaryKeyConstraint("project", "number", name="pk_generations"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_subject", "decisions", ["project", "subject"])
    op.create_table(
        "aliases",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("intended", sa.String(length=80), nullable=True),
        sa.Column("written", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("project", name="pk_aliases"),
    )
    op.create_table(
        "requests",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("handled_at", TIME, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index(
        "ux_requests_open",
        "requests",
        ["project", "version"],
        unique=True,
        sqlite_where=sa.text("handled_at IS NULL"),
        postgresql_where=sa.text("handled_at IS NULL"),
    )


def _retraining() -> None:
    op.create_table(
        "leases",
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=True),
        sa.Column("holder", sa.String(length=200), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("project", name="pk_leases"),
    )
    op.create_table(
        "intents",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("project", sa.String(length=80), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("run", sa.String(length=200), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_intents"),
    )
    op.create_index("ix_intents_project", "intents", ["project", "opened_at"])
    op.create_index(
        "ux_intents_live",
        "intents",
        ["incident_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "notes",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_notes"),
    )
