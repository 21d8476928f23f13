"""`python -m serving`: the service of one home, until it is told to stop."""

import gc
import logging
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from data.errors import BadSetting
from serving.app import create_app
from serving.connections import Connection
from tasks.settings import Settings, read_settings

COLLECT = (20_000, 20, 50)  # a request leaves no cycles behind it, so looking after each dozen finds nothing


class Server(uvicorn.Server):
    """Leaves HOME/run/service.ready while it listens."""

    def __init__(self, config: uvicorn.Config, ready: Path) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again, in the middle of a request
        gc.set_threshold(*COLLECT)
        if self.started:
            self.ready.parent.mkdir(parents=True, exist_ok=True)
            self.ready.write_text(datetime.now(UTC).isoformat())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it is over, then answer what has come in."""
        self.ready.unlink(missing_ok=True)
        await super().shutdown(sockets)


def create_server(settings: Settings) -> Server:
    """Build the server; one process, since a second would load every model again."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.service_port,
        loop="uvloop",
        http=Connection,
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # only pages look at them
        server_header=False,
        log_config=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=20,
    )
    return Server(config, settings.home / "run" / "service.ready")


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings()
    except BadSetting as error:
        sys.stderr.write(f"{error}\n")
        return 1
    server = create_server(settings)
    server.ready.unlink(missing_ok=True)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
