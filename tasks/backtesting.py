"""A whole backtest: policies on the earlier part, the chosen one on all of it, and what it is measured against."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import HoldfastError
from models.metrics import per_row, value
from tasks import backtest_arms
from tasks.backtest import PACE, Played, Replay, Retraining, Tell, pace
from tasks.backtest_home import Moved, rehearsal
from tasks.backtest_policies import Policy, choose, metric
from tasks.backtest_stream import Stream, cut
from tasks.observing import predictor_of, utc
from tasks.settings import Settings

logger = logging.getLogger(__name__)

EARLIER = 2 / 3  # of the replayed rows, on which policies are chosen
WEEK = timedelta(days=7)
RARE = 4  # windows: whose calendar waits for so many asks for few trainings
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Tried:
    """What one policy reached on the earlier part; `why` says what stopped it, if anything did."""

    name: str
    about: str
    metric: float
    retrainings: int
    why: str = ""


@dataclass(frozen=True)
class Result:
    """A backtest. `arms[0]` is the chosen policy's replay; `split` is where the part begins that chose nothing."""

    stream: Stream
    since: datetime
    split: datetime
    until: datetime
    week: timedelta
    window: timedelta
    tried: tuple[Tried, ...]
    first: Retraining
    arms: tuple[Played, ...]

    @cached_property
    def losses(self) -> dict[str, np.ndarray]:
        """How wrong each arm was, row by row."""
        return {arm.name: self.stream.losses(arm.predicted) for arm in self.arms}

    def between(self, arm: Played, after: datetime, until: datetime) -> float:
        """Return an arm's accuracy, or its mean absolute error, on the rows seen in (after, until]."""
        return metric(self.stream, self.losses[arm.name], after, until)

    def score(self, arm: Played, name: str) -> float:
        """Return another metric of numbers, as rmse or r2, of an arm's answers to the whole replay."""
        which = self.stream.come(self.since, self.until)
        which = which[[answer is not None for answer in arm.predicted[which].tolist()]]
        truth = self.stream.rows[self.stream.schema.target][which]
        answers = np.stack(arm.predicted[which].tolist()).astype(float).reshape(len(which), -1)
        return value(name, per_row(name, truth, answers))

    def metric(self, arm: Played, *, last_third: bool) -> float:
        """Return the same for the whole replay, or for the part that chose nothing."""
        return self.between(arm, self.split if last_third else self.since, self.until)


def backtest(
    settings: Settings,
    stream: Stream,
    file: Path,
    policies: list[Policy],
    *,
    since: datetime,
    until: datetime | None = None,
    week: timedelta = WEEK,
    progress: Progress,
) -> Result:
    """Replay a stream from `since` on under the policy that does best on the first two thirds of it.

    `settings`: of the live home, of which only the threads of a training are used; `file`: where the project is
    declared; `week`: what the calendar calls so.

    Raises: TooFewRows, and HoldfastError where no policy's replay got through the earlier part.
    """
    stream, end = cut(stream, since, until)
    replayed = stream.come(since, end)
    split = utc(stream.seen[replayed[int(len(replayed) * EARLIER)]])
    with ExitStack() as stack:
        replay, first, tried = chosen(settings, stream, file, policies, since, split, progress, stack)
        played = replay.play(end, told(progress, "replaying", since, end))
        window = pace(stream.project, stream) * PACE
        arms = (played, *beside(settings, replay, stream, since, end, week, window, progress))
    progress(1.0, "done")
    return Result(stream, since, split, end, week, window, tried, first, arms)


def chosen(
    settings: Settings,
    stream: Stream,
    file: Path,
    policies: list[Policy],
    since: datetime,
    split: datetime,
    progress: Progress,
    stack: ExitStack,
) -> tuple[Replay, Retraining, tuple[Tried, ...]]:
    """Play every policy to the split and return the one that goes on; it has seen nothing of what comes after."""
    found: dict[str, tuple[Replay, Retraining, ExitStack]] = {}
    tried: list[Tried] = []
    for policy in policies:
        own = stack.enter_context(ExitStack())
        project, clock = policy.change(stream.project), Moved()
        home = own.enter_context(rehearsal(settings, project, file, clock))
        replay = Replay(home, stream, clock, policy.name)
        try:
            first = replay.start(since)
            played = replay.play(split, told(progress, f"trying {policy.name}", since, split))
        except HoldfastError as error:
            tried.append(Tried(policy.name, policy.about, float("nan"), 0, str(error)))
            own.close()
            continue
        value = metric(stream, stream.losses(played.predicted), since, split)
        tried.append(Tried(policy.name, policy.about, value, len(played.retrainings)))
        found[policy.name] = (replay, first, own)
    if not found:
        raise HoldfastError(f"{stream.project.name}: no replay got through: {tried[0].why}")
    reached = {one.name: (one.metric, one.retrainings) for one in tried if one.name in found}
    best = choose(reached, stream.project.task)
    for name, (_, _, own) in found.items():
        if name != best:
            own.close()
    replay, first, _ = found[best]
    return replay, first, tuple(tried)


def beside(
    settings: Settings,
    replay: Replay,
    stream: Stream,
    since: datetime,
    until: datetime,
    week: timedelta,
    window: timedelta,
    progress: Progress,
) -> list[Played]:
    """Replay what the policy is measured against."""
    name = stream.project.name
    first = predictor_of(replay.home, replay.home.store.ledger.generations(name)[0])
    found: list[Played] = []
    by_calendar = "weekly" if week < 2 * WEEK else f"each {week.days} days"
    for what, every in (("never", None), (by_calendar, week), ("always", window)):
        if what == "always" and week >= RARE * window:
            continue  # it would cost more than all the rest
        if what == "always" and window == week:
            found.append(replace(found[-1], name=what))
            continue
        with TemporaryDirectory(prefix="holdfast-backtest-") as folder:
            found.append(
                backtest_arms.scheduled(
                    stream.project,
                    stream,
                    what,
                    every,
                    first=first,
                    since=since,
                    until=until,
                    folder=Path(folder),
                    threads=settings.threads or 1,
                    tell=told(progress, what, since, until),
                )
            )
    return [*found, backtest_arms.trivial(stream.project, stream, since)]


def told(progress: Progress, what: str, since: datetime, until: datetime) -> Tell:
    """Return what tells of a replay's progress."""

    def tell(now: datetime) -> None:
        progress((now - since) / (until - since), f"{what}: {now:%Y-%m-%d %H:%M}")

    return tell
