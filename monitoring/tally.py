"""What the service counts of a version that answers beside the champion, and how long either takes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

FIRST, STEP = 1e-5, 1.25  # seconds of the first bin's end, and how much longer each next one is
SHARE = 0.95
FEWEST = 20  # calls of about one size, for a percentile

Calls = dict[int, Counter[int]]
"""Size of a call (the power of two that its rows fill) -> bin of its duration -> calls."""


@dataclass
class Side:
    """One of the two versions. Only one thread adds to it."""

    rows: int = 0
    failed: int = 0
    calls: Calls = field(default_factory=dict)

    def answered(self, rows: int, seconds: float) -> None:
        """Count one call of a predictor."""
        if rows:
            self.rows += rows
            self.calls.setdefault((rows - 1).bit_length(), Counter())[bin_of(seconds)] += 1

    def missed(self, rows: int) -> None:
        """Count rows that it had to answer and did not."""
        self.rows += rows
        self.failed += rows

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, while others go on counting."""
        calls = {str(size): {str(one): n for one, n in dict(bins).items()} for size, bins in dict(self.calls).items()}
        return {"rows": self.rows, "failed": self.failed, "calls": calls}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Side":
        """Read what `to_json` returned."""
        calls = {
            int(size): Counter({int(one): int(n) for one, n in bins.items()}) for size, bins in stored["calls"].items()
        }
        return cls(int(stored["rows"]), int(stored["failed"]), calls)


@dataclass
class Tally:
    """Both versions since a trial began. `dropped`: rows the shadow was too busy for; `problem`: why it can't run.

    `unwritten`: those of them that were answered, and found no room on the way to the store.
    """

    champion: Side = field(default_factory=Side)
    challenger: Side = field(default_factory=Side)
    dropped: int = 0
    problem: str = ""
    unwritten: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        sides = {"champion": self.champion.to_json(), "challenger": self.challenger.to_json()}
        return {**sides, "dropped": self.dropped + self.unwritten, "problem": self.problem}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Tally":
        """Read what `to_json` returned; nothing was counted where nothing is stored."""
        if not stored:
            return cls()
        champion, challenger = (Side.from_json(stored[name]) for name in ("champion", "challenger"))
        return cls(champion, challenger, int(stored["dropped"]), str(stored["problem"]))

    def latencies(self) -> tuple[float, float, int] | None:
        """Return the 95th percentiles, champion's first, and how many calls of each they stand on at least.

        Calls are compared with calls of about as many rows, of the size that both made most often; None while there
        are too few.
        """
        both = {
            size: min(bins.total(), self.challenger.calls[size].total())
            for size, bins in self.champion.calls.items()
            if size in self.challenger.calls
        }
        size = max(both, key=lambda one: both[one], default=None)
        if size is None or both[size] < FEWEST:
            return None
        return percentile(self.champion.calls[size]), percentile(self.challenger.calls[size]), both[size]


def bin_of(seconds: float) -> int:
    """Return the bin of a duration."""
    return max(int(log(max(seconds, FIRST) / FIRST, STEP)), 0)


def percentile(bins: Mapping[int, int]) -> float:
    """Return the time, in seconds, within which 95 of 100 calls ended."""
    wanted, seen = SHARE * sum(bins.values()), 0
    for one in sorted(bins):
        seen += bins[one]
        if seen >= wanted:
            return float(FIRST * STEP ** (one + 1))
    return float("nan")
