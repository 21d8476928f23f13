"""The audit sample: rows whose labels count as a random sample where people label only what they choose to look at.

Which rows these are follows from the prediction's id alone, whatever was answered and whoever looks.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from monitoring.declarations import Labels
from monitoring.records import Prediction

COMPLETE = 0.9  # of an audit sample must be labelled: what is left out was chosen as well
CHOSEN = "labels come for selected rows only, which are no sample of all rows"


@dataclass(frozen=True)
class Sample:
    """The predictions whose labels count. `selected`: why they are no random sample; empty where they are one."""

    predictions: list[Prediction]
    selected: str = ""


def drawn(ids: Iterable[str], share: float) -> np.ndarray:
    """Tell which ids are in the audit sample, bool (N,); a larger share only adds ids."""
    return np.array([place(id_) < share for id_ in ids], dtype=bool)


def place(id_: str) -> float:
    """Return an id's fixed place in [0, 1), which has nothing to do with the role or the canary's share it has."""
    return int.from_bytes(hashlib.sha256(f"audit {id_}".encode()).digest()[:8], "big") / 2**64


def sample(predictions: list[Prediction], labels: Labels) -> Sample:
    """Return those of the predictions, labelled or not, by whose labels all of them may be judged."""
    if labels.coverage == "all":
        return Sample(predictions)
    if not labels.audit_share:
        return Sample(predictions, f"{CHOSEN}, and no audit sample is declared (Labels(audit_share=…))")
    chosen = drawn((one.id for one in predictions), labels.audit_share)
    audited = [one for one, counts in zip(predictions, chosen, strict=True) if counts]
    known = sum(one.label is not None for one in audited)
    if known and known >= COMPLETE * len(audited):
        return Sample(audited)
    return Sample(audited, f"{CHOSEN}: {known} of {len(audited)} audit rows have a label, {COMPLETE:.0%} are needed")
