"""Cameras that send digits to the service, and people who say later what they were: the world of the demo."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import numpy as np

from data.errors import ServerUnavailable
from data.injection import dead_frames, new_cameras
from data.sources import bundled_frame
from projects.digits import HISTORY, project
from tasks.client import Declined, Service
from tasks.preparation import roles_by_entity

REQUEST_ROWS = 10
HIGH = 16


@dataclass
class Sent:
    """Pictures that were answered: what they show, what was answered, whether a training may see them."""

    ids: list[str] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    held_out: list[bool] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)
    failed: int = 0
    why: str = ""  # of the newest failure

    def accuracy(self, *, held_out_only: bool = True) -> tuple[float, int]:
        """Return the share answered right, and of how many: pictures that no training ever sees, or all."""
        right = [
            truth == answer
            for truth, answer, out in zip(self.truth, self.answers, self.held_out, strict=True)
            if out or not held_out_only
        ]
        return (float(np.mean(right)) if right else float("nan")), len(right)


class Cameras:
    """Sends pictures that were never ingested, as one fleet of cameras or another sees them."""

    def __init__(self, service: str, seed: int = 0, key: str = "") -> None:
        pictures = bundled_frame("digits").iloc[HISTORY:]
        self.images = np.stack(list(pictures["image"])).astype(np.uint8)
        self.truth = [str(digit) for digit in pictures["digit"]]
        self.sources = [f"scene-{i:04d}" for i in range(len(self.truth))]
        evaluation = project.evaluation
        role = roles_by_entity(np.array(self.sources, dtype=object), evaluation.judge, evaluation.anchor)
        self.held_out = role != "train"
        self.generator = np.random.default_rng(seed)
        self.order = self.shuffled()
        self.service = Service(service, key)

    def __enter__(self) -> Self:
        """Return the cameras; the block ends their connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.service.http.close()

    def shuffled(self) -> Iterator[int]:
        """Yield pictures for ever, each once a round."""
        while True:
            yield from self.generator.permutation(len(self.truth)).tolist()

    def send(self, count: int, *, dial: float = 0.0, dead: bool = False, only_held_out: bool = False) -> Sent:
        """Send `count` pictures in small requests and keep what was answered."""
        sent = Sent()
        while len(sent.ids) + sent.failed < count:
            chosen: list[int] = []
            while len(chosen) < min(REQUEST_ROWS, count - len(sent.ids) - sent.failed):
                i = next(self.order)
                if self.held_out[i] or not only_held_out:
                    chosen.append(i)
            images = self.images[chosen]
            images = dead_frames(images, HIGH) if dead else new_cameras(images, dial, self.generator, HIGH)
            self.ask(sent, chosen, images)
        return sent

    def ask(self, sent: Sent, chosen: list[int], images: np.ndarray) -> None:
        """Send one request; a refusal counts as failed rows."""
        ids = [f"camera-{uuid.uuid4().hex}" for _ in chosen]
        at = datetime.now(UTC).isoformat()
        rows = [
            {"id": key, "source": self.sources[i], "taken_at": at, "image": image.tolist()}
            for key, i, image in zip(ids, chosen, images, strict=True)
        ]
        try:
            body = self.service.predict(project.name, rows)
        except (ServerUnavailable, Declined) as error:
            sent.failed += len(chosen)
            sent.why = str(error)
            return
        sent.ids += ids
        sent.truth += [self.truth[i] for i in chosen]
        sent.held_out += [bool(self.held_out[i]) for i in chosen]
        sent.answers += [prediction["class"] for prediction in body["predictions"]]
        sent.generations.add(body["generation"])

    def label(self, sent: Sent) -> int:
        """Tell the service what the pictures showed; return how many labels were new.

        Raises: ServerUnavailable, Declined, with the service's reason.
        """
        labels = [{"id": key, "label": truth} for key, truth in zip(sent.ids, sent.truth, strict=True)]
        return int(self.service.label(project.name, labels)["new"])


@dataclass
class Background:
    """Traffic that never stops while something else happens."""

    cameras: Cameras
    dial: float
    pause_s: float = 1.0
    sent: Sent = field(default_factory=Sent)
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send."""
        self.thread = threading.Thread(target=self.run, daemon=True, name="traffic")
        self.thread.start()

    def run(self) -> None:
        """Send until stopped."""
        while not self.stopped.wait(self.pause_s):
            more = self.cameras.send(REQUEST_ROWS, dial=self.dial)
            self.sent.failed += more.failed
            self.sent.ids += more.ids
            self.sent.truth += more.truth
            self.sent.answers += more.answers
            self.sent.held_out += more.held_out
            self.sent.generations |= more.generations

    def stop(self) -> Sent:
        """End and return what was sent."""
        self.stopped.set()
        if self.thread:
            self.thread.join()
        return self.sent


def wait_until(claim: Callable[[], bool], seconds: float, pause_s: float = 0.3) -> bool:
    """Ask until `claim` holds; False when it did not within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if claim():
            return True
        time.sleep(pause_s)
    return claim()
