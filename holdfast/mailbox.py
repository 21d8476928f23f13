"""A webhook that keeps the alerts it gets, for the demo and whoever else wants to see them arrive."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Mailbox:
    """A webhook of ours that keeps what it gets."""

    received: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def texts(self, kind: str) -> list[str]:
        """Return the texts of the alerts of one kind."""
        return [str(alert.get("text", "")) for alert in self.received if alert.get("kind") == kind]


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Listen on a free port of this machine for as long as the block runs."""
    box = Mailbox()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            message = json.loads(body)
            box.received.append({**message["data"], "id": message["id"]})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    box.url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
