"""The five processes of a home: their commands, variables, and how each is known to be ready."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from data.environment import child_environment
from flows import server
from holdfast.supervisor import Child
from tasks.secret_files import ENCRYPTION, secret
from tasks.settings import Settings

PYTHON = sys.executable


def five(settings: Settings) -> list[Child]:
    """Return the processes that this home's stack needs; a server that the user runs is not among them."""
    home = settings.home
    shared = shared_variables(settings)
    made: list[Child] = []

    def add(name: str, *words: str, ready: Callable[[float], bool], after: tuple[str, ...], **variables: str) -> None:
        environment = child_environment(home, {**shared, **variables})
        log = home / "logs" / f"{name}.log"
        made.append(Child(name, (PYTHON, "-m", *words), environment, log, ready, after))

    if not settings.prefect_api_url:
        words = server.command(settings)[2:]
        add("prefect", *words, ready=answers(f"{settings.prefect_url}/health"), after=(), **prefect_variables(settings))
    if not settings.mlflow_tracking_uri:
        variables = webhook_variables(home)
        add("mlflow", *mlflow_words(settings), ready=answers(f"{settings.mlflow_url}/health"), after=(), **variables)
    servers = tuple(child.name for child in made)
    add("service", "serving", ready=answers(f"{reachable(settings)}/healthz"), after=())
    add("runner", "flows.runner", ready=touched(home / "run" / "runner.ready"), after=servers[:1])
    add("keeper", "flows.keeper", ready=touched(home / "run" / "keeper.ready"), after=servers)
    return made


def shared_variables(settings: Settings) -> dict[str, str]:
    """Return what all five are told: where the others are."""
    return {
        "PREFECT_API_URL": settings.prefect_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "HOLDFAST_PREFECT_PORT": str(settings.prefect_port),
        "HOLDFAST_MLFLOW_PORT": str(settings.mlflow_port),
        "HOLDFAST_SERVICE_PORT": str(settings.service_port),
        "HOLDFAST_PROJECTS": ":".join(map(str, settings.project_folders)),
        "HOLDFAST_EXAMPLES": settings.examples,
        "HOLDFAST_EMBEDDED": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PYTHONUNBUFFERED": "1",
    }


def prefect_variables(settings: Settings) -> dict[str, str]:
    """Return what the Prefect server is told; a database of the user's is left alone."""
    port = settings.prefect_port
    origins = ",".join(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))
    variables = {**server.environment(settings), "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins}
    if not {"PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"} & os.environ.keys():
        database = settings.home / "prefect" / "prefect.db"
        variables["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
    return variables


def mlflow_words(settings: Settings) -> tuple[str, ...]:
    """Return the MLflow server's command: one worker, artifacts through the server; a store of the user's is kept."""
    folder = settings.home / "mlflow"
    return (
        "mlflow",
        "server",
        "--host=127.0.0.1",
        f"--port={settings.mlflow_port}",
        "--workers=1",
        f"--backend-store-uri={os.environ.get('MLFLOW_BACKEND_STORE_URI') or f'sqlite:///{folder}/mlflow.db'}",
        f"--artifacts-destination={os.environ.get('MLFLOW_ARTIFACTS_DESTINATION') or folder / 'artifacts'}",
        "--serve-artifacts",
    )


def webhook_variables(home: Path) -> dict[str, str]:
    """Return what lets an MLflow server tell this home's service of its registry; a key of the user's is kept.

    Without a key that lasts, no webhook can be read after the server's next start; its cache would drop first events.
    """
    return {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "2",
        "MLFLOW_WEBHOOK_REQUEST_TIMEOUT": "5",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": os.environ.get("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY")
        or secret(home, ENCRYPTION),
    }


def make_folders(home: Path) -> None:
    """Make the folders that processes expect to stand."""
    for name in ("logs", "run", "prefect", "mlflow"):
        (home / name).mkdir(parents=True, exist_ok=True)


def reachable(settings: Settings) -> str:
    """URL at which the service answers this machine."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", "localhost"} else settings.host  # noqa: S104
    return f"http://{host}:{settings.service_port}"


def answers(url: str) -> Callable[[float], bool]:
    """Return a check that a server answers 200."""

    def check(_started: float) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 (our own http URL)
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    return check


def touched(path: Path) -> Callable[[float], bool]:
    """Return a check that a file was written since the process was started.

    `HOME/run/<name>.ready` is a process's heartbeat: its content is the time it wrote it.
    """

    def check(started: float) -> bool:
        return path.exists() and path.stat().st_mtime >= started - 0.01

    return check
