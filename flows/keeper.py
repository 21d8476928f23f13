"""The process that sees promises through: `python -m flows.keeper`.

It needs neither Prefect's client nor its server: while a server is away it goes on with the rest and says so.
"""

import logging
import signal
import threading
from typing import Any

from data.errors import HoldfastError
from flows import client, events
from flows.run_files import touch
from flows.runner import log_plainly, prepare
from tasks.keeping import Keeper
from tasks.resources import connect
from tasks.settings import Settings, read_settings

logger = logging.getLogger(__name__)


def keeper_of(settings: Settings) -> Keeper:
    """Return a keeper that speaks to this home's Prefect."""

    def emit(event: str, payload: dict[str, Any]) -> None:
        events.emit(settings.prefect_url, event, payload)

    def start_run(deployment: str, parameters: dict[str, Any], idempotency_key: str) -> str:
        return client.start(settings, deployment, parameters, key=idempotency_key).id

    def run_state(run: str) -> str:
        return client.run_state(settings, run)

    def end_run(run: str, name: str, why: str) -> bool:
        return client.end(settings, run, name, why)

    return Keeper(connect(settings), emit, start_run, run_state, end_run)


def keep(settings: Settings, stopped: threading.Event) -> None:
    """Do one round after another; a failure of one is logged once and the next round tries again."""
    keeper = keeper_of(settings)
    last = ""
    while not stopped.is_set():
        try:
            keeper.round()
            if last:
                logger.info("all is well again")
            last = ""
        except Exception as error:
            if str(error) != last:
                logger.warning("%s", error, exc_info=not isinstance(error, HoldfastError))
            last = str(error)
        touch(settings.home, "keeper")  # at work, even while a server is away
        stopped.wait(settings.keeper_seconds)


def main() -> None:
    """Keep until told to stop."""
    log_plainly()
    settings = read_settings()
    prepare(settings)
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    keep(settings, stopped)


if __name__ == "__main__":
    main()
