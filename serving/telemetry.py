"""What the service counts, at well under a microsecond a count, and how Prometheus reads it.

Each number is written by one thread only and read by whoever renders: nothing locks, and no reading is torn.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from serving.state import State

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
CLASSES = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")
REASONS = {
    400: "not_json",
    401: "key",
    403: "scope",
    404: "unknown",
    405: "method",
    408: "slow_body",
    409: "conflict",
    413: "too_large",
    415: "media_type",
    422: "unfit",
    429: "rate",
    499: "client_gone",
    503: "unavailable",
}


class Histogram:
    """How many values fell up to each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return what Prometheus takes: bound and count of all values up to it, +Inf last."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(list(self.counts))), strict=True))


class Answers:
    """What one project was asked on one route, and what became of it."""

    __slots__ = ("refusals", "rows", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses, self.rows, self.seconds = [0] * len(CLASSES), 0, Histogram(SECONDS)
        self.refusals: dict[str, int] = {}


class Telemetry:
    """Every count of the service. A stranger's path can't make new names: unknown projects share one."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answers] = {("predict", ""): Answers()}
        self.known: frozenset[str] = frozenset()
        self.batches = Histogram(ROWS)
        self.commits = Histogram(SECONDS)
        self.committed = 0
        self.swaps: dict[str, int] = {}

    def answered(self, route: str, project: str, status: int, rows: int, seconds: float, reason: str = "") -> None:
        """Count one request that was answered, or refused for a reason; the event loop alone calls this."""
        answers = self.answers.get((route, project)) or self.of(route, project)
        answers.statuses[status // 100] += 1
        if not 400 <= status < 500:  # refusals cost next to nothing, and would hide how long answers take
            answers.seconds.add(seconds)
        if status < 400:
            answers.rows += rows
        else:
            reason = reason or REASONS.get(status, "other")
            answers.refusals[reason] = answers.refusals.get(reason, 0) + 1

    def of(self, route: str, project: str) -> Answers:
        """Return a route's counts for a project; those of all that are unknown are one."""
        name = project if project in self.known else ""
        return self.answers.setdefault((route, name), Answers())

    def committed_batch(self, rows: int, seconds: float) -> None:
        """Count one commit; the thread that commits alone calls this."""
        self.commits.add(seconds)
        self.committed += rows

    def swapped(self, project: str) -> None:
        """Count one generation that came to serve; the thread that loads alone calls this."""
        self.known |= {project}
        self.swaps = {**self.swaps, project: self.swaps.get(project, 0) + 1}


class Collected:
    """Everything as Prometheus' own objects, made at each scrape."""

    def __init__(self, state: "State") -> None:
        self.state = state

    def collect(self) -> "Iterator[Metric]":
        """Yield one family a metric."""
        yield from self.requests()
        yield from self.work()
        yield from self.generations()
        yield from self.trials()

    def requests(self) -> "Iterator[Metric]":
        """Yield what was asked, and what became of it."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        names = ["route", "project"]
        requests = CounterMetricFamily("holdfast_requests", "Requests by class of status.", labels=[*names, "status"])
        rows = CounterMetricFamily("holdfast_rows", "Rows answered durably, labels recorded.", labels=names)
        refusals = CounterMetricFamily("holdfast_refusals", "Requests refused.", labels=[*names, "reason"])
        seconds = HistogramMetricFamily(
            "holdfast_request_seconds", "From head to last byte, 4xx left out.", labels=names
        )
        for key, answers in list(self.state.telemetry.answers.items()):
            for status, count in zip(CLASSES, answers.statuses, strict=True):
                if count:
                    requests.add_metric([*key, status], count)
            for reason, count in list(answers.refusals.items()):
                refusals.add_metric([*key, reason], count)
            rows.add_metric(key, answers.rows)
            seconds.add_metric(key, answers.seconds.buckets(), answers.seconds.total)
        yield from (requests, rows, refusals, seconds)

    def work(self) -> "Iterator[Metric]":
        """Yield how the two threads behind the answers fare."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        told, batcher = self.state.telemetry, self.state.batcher
        yield GaugeMetricFamily("holdfast_queue_rows", "Rows on their way.", value=batcher.waiting)
        yield GaugeMetricFamily("holdfast_body_bytes", "Bytes of bodies held.", value=self.state.bodies.held)
        for name, what, histogram in (
            ("holdfast_batch_rows", "Rows of one call of a network.", told.batches),
            ("holdfast_commit_seconds", "Duration of one commit of the log.", told.commits),
        ):
            yield HistogramMetricFamily(name, what, buckets=histogram.buckets(), sum_value=histogram.total)
        yield CounterMetricFamily(
            "holdfast_committed_rows", "Rows handed to the log and durable.", value=told.committed
        )
        broken = float(bool(batcher.log_problem))
        yield GaugeMetricFamily("holdfast_log_problem", "1 while the last commit failed.", value=broken)

    def generations(self) -> "Iterator[Metric]":
        """Yield what serves."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        generations = self.state.generations
        serves = GaugeMetricFamily("holdfast_generation", "Generation that serves.", labels=["project", "version"])
        for name, one in sorted(generations.served.items()):
            serves.add_metric([name, one.version], one.generation)
        broken = GaugeMetricFamily("holdfast_generation_problem", "1: not swapped in.", labels=["project"])
        for name in sorted(generations.served.keys() | generations.failures.keys()):
            broken.add_metric([name], float(name in generations.failures))
        swaps = CounterMetricFamily("holdfast_swaps", "Generations that came to serve.", labels=["project"])
        for name, count in sorted(self.state.telemetry.swaps.items()):
            swaps.add_metric([name], count)
        yield from (serves, broken, swaps)

    def trials(self) -> "Iterator[Metric]":
        """Yield what versions on trial, and champions beside them, were asked."""
        from prometheus_client.core import GaugeMetricFamily

        names = ["project", "trial", "who", "outcome"]
        rows = GaugeMetricFamily("holdfast_trial_rows", "Rows since the trial began; gone with it.", labels=names)
        for name, (trial, tally) in sorted(self.state.generations.trials.running.copy().items()):
            for who, side in (("champion", tally.champion), ("challenger", tally.challenger)):
                rows.add_metric([name, str(trial), who, "answered"], side.rows - side.failed)
                rows.add_metric([name, str(trial), who, "failed"], side.failed)
            rows.add_metric([name, str(trial), "challenger", "dropped"], tally.dropped + tally.unwritten)
        yield rows


def exposition(state: "State") -> tuple[bytes, str]:
    """Return the page that Prometheus reads, and its media type; the library is loaded by the first scrape."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(state))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4
