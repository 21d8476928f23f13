"""The audit sample: rows whose labels count as a random sample where people label only what they choose to look at.

Which rows these are follows from the prediction's id alone, whatever was answered and whoever looks.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from monitoring.answers import Answers
from monitoring.declarations import Labels

COMPLETE = 0.9  # of an audit sample must be labelled: what is left out was chosen as well
CHOSEN = "labels come for selected rows only, which are no sample of all rows"


@dataclass(frozen=True)
class Sample:
    """The answers whose labels count. `selected`: why they are no random sample; empty where they are one.

    `which`: their places among all, bool (N,).
    """

    answers: Answers
    which: np.ndarray
    selected: str = ""


def drawn(ids: Iterable[str], share: float) -> np.ndarray:
    """Tell which ids are in the audit sample, bool (N,); a larger share only adds ids."""
    return np.array([place(id_) < share for id_ in ids], dtype=bool)


def place(id_: str) -> float:
    """Return an id's fixed place in [0, 1), which has nothing to do with the role or the canary's share it has."""
    return int.from_bytes(hashlib.sha256(f"audit {id_}".encode()).digest()[:8], "big") / 2**64


def sample(answers: Answers, labels: Labels) -> Sample:
    """Return those of the answers, labelled or not, by whose labels all of them may be judged.

    Where people choose what to label, `answers` come with their ids.
    """
    every = np.ones(len(answers), bool)
    if labels.coverage == "all":
        return Sample(answers, every)
    if not labels.audit_share:
        return Sample(answers, every, f"{CHOSEN}, and no audit sample is declared (Labels(audit_share=…))")
    ids = [] if answers.ids is None else answers.ids.tolist()
    chosen = drawn(ids, labels.audit_share)
    audited = answers.take(chosen)
    known = int(audited.known.sum())
    if known and known >= COMPLETE * len(audited):
        return Sample(audited, chosen)
    why = f"{CHOSEN}: {known} of {len(audited)} audit rows have a label, {COMPLETE:.0%} are needed"
    return Sample(audited, chosen, why)
