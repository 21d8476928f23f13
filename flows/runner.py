"""The process that serves flows: `python -m flows.runner`.

Prefect reads its settings when it is imported, so the environment is set first and Prefect comes after.
"""

import asyncio
import logging
import os
import sys

from data.environment import tool_environment
from tasks.settings import Settings, read_settings

QUIET = {"PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"}  # our loggers also speak outside of flows


def prepare(settings: Settings) -> None:
    """Set what this process, its children and their tools read from the environment."""
    os.environ.update(tool_environment(settings.home) | QUIET)
    os.environ["PREFECT_API_URL"] = settings.prefect_url
    os.environ["MLFLOW_TRACKING_URI"] = settings.mlflow_url
    os.environ["HOLDFAST_PROJECTS"] = ":".join(str(folder) for folder in settings.project_folders)


def log_plainly() -> None:
    """Log to stderr, one line each, without a line for every request."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main() -> None:
    """Serve until told to stop."""
    log_plainly()
    settings = read_settings()
    prepare(settings)
    from flows.serve import Service

    asyncio.run(Service(settings).run())


if __name__ == "__main__":
    main()
