"""How the embedded Prefect server is started: its command, and what it needs beyond every tool's variables."""

import sys

from tasks.settings import Settings

SERVER = {
    # SQLite has one writer. By default the scheduler writes a hundred runs ahead of a schedule of seconds, which
    # are all late after a night; and it looks once a minute, so a person's change of a schedule seems lost.
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT2M",
    # where `concurrency()` slots of users' own flows survive a restart
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


def command(settings: Settings) -> list[str]:
    """Return what starts the server, on loopback."""
    where = ["--host", "127.0.0.1", "--port", str(settings.prefect_port)]
    return [sys.executable, "-m", "prefect", "server", "start", *where]


def environment(settings: Settings) -> dict[str, str]:
    """Return the server's own variables; `data.environment` has the others."""
    return {**SERVER, "PREFECT_API_URL": settings.prefect_url, "PREFECT_UI_API_URL": settings.prefect_url}
