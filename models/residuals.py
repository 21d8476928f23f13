"""How far truths lie from answers, by the size of the answer: a few numbers, from which no single row can be told."""

import numpy as np

BINS = 20  # at most, each with as many rows as the others
LEAST = 10  # rows of a bin
QUANTILES = {"low": 0.05, "quarter": 0.25, "middle": 0.5, "three_quarters": 0.75, "high": 0.95}


def residuals(truth: np.ndarray, answers: np.ndarray) -> list[dict[str, float]]:
    """Return quantiles of truth minus answer, in the target's unit, for bins of rows (N,) from low to high answers.

    Rows whose truth or answer is not finite are left out; fewer than 20 rows give none.
    """
    truth, answers = truth.astype(float), answers.astype(float)
    known = np.isfinite(truth) & np.isfinite(answers)
    truth, answers = truth[known], answers[known]
    bins = min(BINS, len(answers) // LEAST)
    if bins < 2:
        return []
    found = []
    for part in np.array_split(np.argsort(answers, kind="stable"), bins):
        apart = np.quantile(truth[part] - answers[part], list(QUANTILES.values()))
        sizes = dict(zip(QUANTILES, apart.tolist(), strict=True))
        found.append({"answer": float(answers[part].mean()), "rows": len(part), **sizes})
    return found
