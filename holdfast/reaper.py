"""Outlives a killed supervisor: `python -m holdfast.reaper MARK` waits for its pipe to close, then cleans up."""

import signal
import sys

from holdfast.processes import end_marked


def main() -> None:
    """End everything that carries the mark once the supervisor at the other end of stdin is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked(sys.argv[1], patience=5)


if __name__ == "__main__":
    main()
