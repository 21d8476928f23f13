"""A child process that holds torch, and the thread that tends it: starts it, waits for its end, starts it again.

Whoever asks meanwhile is refused or waits, as its `Patience` says.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from data.errors import BadDeclaration, Corrupt, HoldfastError, ServerUnavailable
from models.encoding import EncodedSpec
from models.frames import ANSWER, ASK, CORRUPT, HELLO, READY, receive, send
from models.worker import WARM_ROWS

ROOT = Path(__file__).parents[1]  # the sources that run here: the worker takes no others, also in an archive
START_SECONDS = 120.0  # importing torch takes 2 s, on a busy machine several times that
CLOSE_SECONDS = 5.0
PAUSES = (0.5, 30.0)  # seconds before a worker that did not come up is tried again, doubling
SLICE_SECONDS = 0.5  # of the network's work in one message, so that a slow network is told from one that hangs
logger = logging.getLogger(__name__)


class Patience(NamedTuple):
    """How long an answer may take, and how long a worker that starts again is waited for, in seconds."""

    answer: float
    restart: float


WORKING = Patience(60.0, START_SECONDS)
SERVING = Patience(1.5, 0.0)  # nobody who asks the service waits for more than 2 s


class WorkerDown(ServerUnavailable):
    """The torch worker died, hangs, or is not up again yet; the same question can be asked again."""


@dataclass(frozen=True)
class Recipe:
    """What a worker is made from. `network`: as `predictor.json` records it; `project`: the file with its code."""

    folder: Path
    weights_sha256: str
    network: Mapping[str, Any]
    project: Path | None
    spec: EncodedSpec
    threads: int

    def to_json(self) -> bytes:
        """Return the first message to a worker."""
        paths = {"folder": str(self.folder), "project": str(self.project) if self.project else None}
        rest = {"weights_sha256": self.weights_sha256, "network": dict(self.network), "threads": self.threads}
        return orjson.dumps({**paths, **rest, "spec": asdict(self.spec)})


class Worker:
    """One child process at a time. `rows`: how many it is given in a message, by how fast it answered at its start."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.rows, self.seconds = recipe, WARM_ROWS, 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.talk = threading.Lock()  # held over a question and its answer, and while pipes are closed
        self.change = threading.Lock()  # held while a process is started or ended
        self.ready, self.settled, self.closing = threading.Event(), threading.Event(), threading.Event()
        self.failure: HoldfastError | None = None
        self.thread = threading.Thread(target=self.tend, name="torch-worker", daemon=True)

    def start(self) -> None:
        """Start the process; return once it is ready.

        Raises: Corrupt, BadDeclaration, ServerUnavailable.
        """
        self.thread.start()
        self.settled.wait()
        if self.failure:
            self.close()
            raise self.failure

    def close(self) -> None:
        """End the process for good."""
        with self.change:
            self.closing.set()
            if self.process is not None:
                self.process.kill()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join(CLOSE_SECONDS)

    def tend(self) -> None:
        """Keep a process running: start it, wait for its end, start the next."""
        pause = PAUSES[0]
        while (process := self.spawn()) is not None:
            came_up = self.greeted(process)
            self.settled.set()
            process.wait()
            self.ready.clear()
            with self.talk:
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        pipe.close()
            if self.closing.is_set():
                return
            logger.warning("torch worker %d of %s ended (%s)", process.pid, self.recipe.folder, process.returncode)
            pause = PAUSES[0] if came_up else min(2 * pause, PAUSES[1])
            if not came_up:
                self.closing.wait(pause)

    def spawn(self) -> "subprocess.Popen[bytes] | None":
        """Start a process, unless there shall be none any more."""
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.recipe.threads))
        with self.change:
            if self.closing.is_set():
                return None
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "models.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **threads, "PYTHONPATH": path},
            )
            return self.process

    def greeted(self, process: "subprocess.Popen[bytes]") -> bool:
        """Tell a process what it is, and learn whether it can answer."""
        try:
            seconds = self.greet(process)
        except HoldfastError as error:
            self.failure = error
            process.kill()
            return False
        self.rows = max(1, min(WARM_ROWS, int(WARM_ROWS * SLICE_SECONDS / max(seconds, 1e-9))))
        self.seconds = seconds * self.rows / WARM_ROWS
        self.failure = None
        self.ready.set()
        logger.info("torch worker %d serves %s", process.pid, self.recipe.folder)
        return True

    def greet(self, process: "subprocess.Popen[bytes]") -> float:
        """Exchange the first messages; return the seconds that some rows took.

        Raises: Corrupt, BadDeclaration, ServerUnavailable.
        """
        folder, deadline = self.recipe.folder, time.monotonic() + START_SECONDS
        inward, outward = pipes(process)
        try:
            send(inward, HELLO, self.recipe.to_json(), deadline)
            kind, body = receive(outward, deadline)
        except (OSError, EOFError, ValueError) as error:  # a TimeoutError is an OSError
            raise WorkerDown(f"the torch worker of {folder} does not come up: {error}") from error
        if kind == CORRUPT:
            raise Corrupt(*orjson.loads(body))
        if kind != READY:
            raise BadDeclaration(f"the network of {folder} does not start: {body.decode(errors='replace')}")
        return float(orjson.loads(body)["seconds"])

    def ask(self, given: Mapping[str, np.ndarray], patience: Patience) -> np.ndarray:
        """Return the outputs (N, K) of some rows.

        Raises: WorkerDown; BadDeclaration when the network raises.
        """
        from safetensors.numpy import load, save

        body = save({name: np.ascontiguousarray(values) for name, values in given.items()})
        if self.closing.is_set() or not self.ready.wait(patience.restart):
            raise self.down("is starting again")
        with self.talk:
            if not self.ready.is_set() or self.process is None:
                raise self.down("has just ended and is starting again")
            process = self.process
            kind, answer = self.exchange(process, body, max(patience.answer, 3 * self.seconds))
            if kind != ANSWER:
                raise BadDeclaration(f"the network failed: {answer.decode(errors='replace')}")
            output, rows = np.asarray(load(answer)["output"]), len(next(iter(given.values())))
            if len(output) != rows:  # the answer to another question, or a network that does not answer row by row
                raise self.gone(process, f"gave {len(output)} answers for {rows} rows and is started again")
        return output

    def exchange(self, process: "subprocess.Popen[bytes]", body: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Ask and wait for the answer; a process that gives none in time is ended, and the next one started."""
        inward, outward = pipes(process)
        deadline = time.monotonic() + seconds
        try:
            send(inward, ASK, body, deadline)
            return receive(outward, deadline)
        except TimeoutError as error:
            why = f"did not answer within {seconds:.1f} s and is started again"
            raise self.gone(process, why) from error
        except (OSError, EOFError, ValueError) as error:
            raise self.gone(process, "died and is started again") from error
        except BaseException:  # no memory, an interrupt: what is left in the pipe would answer the next question
            self.gone(process, "was left in the middle of an answer")
            raise

    def gone(self, process: "subprocess.Popen[bytes]", why: str) -> WorkerDown:
        """Give a process up."""
        self.ready.clear()
        process.kill()
        return self.down(why)

    def down(self, why: str) -> WorkerDown:
        """Say why there is no answer."""
        failure = f" ({self.failure})" if self.failure else ""
        return WorkerDown(f"the torch worker {why}{failure}: ask again")


def pipes(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Return where to write to a process and where to read from it; neither blocks."""
    assert process.stdin is not None
    assert process.stdout is not None
    ends = process.stdin.fileno(), process.stdout.fileno()
    for end in ends:
        os.set_blocking(end, False)
    return ends
