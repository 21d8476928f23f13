"""What an evaluation of a recipe says: each metric with its interval, the baselines beside, and each training.

All test rows of all trainings count together, those of one entity (or day) as one witness, however many seeds asked it.
Only what ranks rows is taken training by training, where each has rows of every class: scores of two networks
can't be ranked among each other (Forman & Scholz 2010, Apples-to-Apples in Cross-Validation Studies).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from data.schema import Rows, take
from models import metrics
from models.card_gains import gained
from models.card_value import plain
from models.card_words import bounded, number
from models.curves import curves
from models.learners import MOST_ROWS
from models.outputs import Outputs
from models.resampling import Interval, paired_interval
from models.residuals import residuals
from tasks.evaluation import blocks
from tasks.recipes import NETWORK, Answered, Evaluated


def facts(result: Evaluated) -> dict[str, Any]:
    """Return everything as plain JSON values."""
    project, trainings = result.project, result.trainings
    found = {name: table_of(result, name) for name in names_of(result)} | lists_of(result)
    asked = sum(len(one.test) for one in trainings)
    return dict(
        plain(
            {
                "project": project.name,
                "protocol": result.protocol,
                "data": result.origin,
                "seeds": result.seeds,
                "trainings": len(trainings),
                "answers": asked,
                "seconds": result.seconds,
                "seconds_a_training": {
                    name: float(np.mean([one.seconds[name] for one in trainings])) for name in trainings[0].seconds
                },
                "metric": project.evaluation.metric,
                "metrics": found,
                "note": note(result),
                "folds": [fold(result, one) for one in trainings],
                **pictured(result),
            }
        )
    )


def names_of(result: Evaluated) -> list[str]:
    """Return the metrics of the task that have an interval, the deciding one first."""
    deciding = result.project.evaluation.metric
    every: Iterable[str] = metrics.CLASS_METRICS if result.project.task == "classification" else metrics.NUMBER_METRICS
    if result.project.task == "anomaly":
        known = all(metrics.labelled(truth_of(result, one)).all() for one in result.trainings)
        every = metrics.DECIDING["anomaly"][: None if known else 1]
    return [deciding, *(name for name in every if name != deciding)]


def table_of(result: Evaluated, metric: str) -> dict[str, Any]:
    """Return a metric of the network with its bounds, of each baseline, and the gain over each with its bounds."""
    together = np.concatenate([blocks(result.project, tested(result, one)) for one in result.trainings])
    models = list(result.trainings[0].outputs)
    parts = {model: pooled(result, metric, model) for model in models}
    ours = bounds(metric, parts[NETWORK], together, result)
    line: dict[str, Any] = {"value": ours.estimate, "low": ours.low, "high": ours.high}
    for model in models[1:]:
        line[model] = beside(metric, parts[NETWORK], parts[model], together)
    return line


def lists_of(result: Evaluated) -> dict[str, dict[str, Any]]:
    """Return each metric of lists, where items are ranked: the network's with bounds by user, and the gains."""
    known = [one for one in result.trainings if one.users is not None and len(one.users)]
    found: dict[str, dict[str, Any]] = {}
    for metric in known[0].lists[NETWORK] if known else ():
        users = np.concatenate([np.asarray(one.users) for one in known])
        models = list(known[0].lists)
        parts = {model: np.concatenate([one.lists[model][metric] for one in known]) / result.seeds for model in models}
        ours = metrics.bounds(metric, parts[NETWORK], users)
        found[metric] = {"value": ours.estimate, "low": ours.low, "high": ours.high} | {
            model: beside(metric, parts[NETWORK], other, users) for model, other in parts.items() if model != NETWORK
        }
    return found


def beside(metric: str, ours: np.ndarray, other: np.ndarray, together: np.ndarray) -> dict[str, float]:
    """Return another model's metric, and how much better the network's is, with bounds."""
    found = apart(metric, ours, other, together)
    return {"value": mean_of(metric, other), "gain": found.estimate, "low": found.low, "high": found.high}


def pooled(result: Evaluated, metric: str, model: str) -> np.ndarray:
    """Return summable parts (N, Q) of a metric over all trainings; a row that S seeds asked counts as one, not as S."""
    raw = [per_row(result, metric, one, model) for one in result.trainings]
    each = [metrics.summable(metric, parts) for parts in raw]
    if metric in metrics.RANKED and not all(np.isfinite(parts).all() for parts in each):
        each = [metrics.summable(metric, np.concatenate(raw))]
    return np.concatenate(each) / result.seeds


def per_row(result: Evaluated, metric: str, one: Answered, model: str) -> np.ndarray:
    """Return the raw parts of a metric of one training's answers."""
    outputs = one.outputs[model]
    return metrics.per_row(metric, truth_of(result, one), outputs.values, outputs.levels, outputs.cutoff)


def bounds(metric: str, parts: np.ndarray, together: np.ndarray, result: Evaluated) -> Interval:
    """Bound the network's metric; what ranks is a mean of pseudo-values by now."""
    if metric not in metrics.RANKED:
        return metrics.bounds(metric, parts, together)
    raw = np.concatenate([per_row(result, metric, one, NETWORK) for one in result.trainings])
    return metrics.ranked_bounds(metric, raw, parts, together)


def apart(metric: str, ours: np.ndarray, other: np.ndarray, together: np.ndarray) -> Interval:
    """Bound how much better the network is than another model on the same rows."""
    sign = 1.0 if metrics.HIGHER_IS_BETTER[metric] else -1.0
    return paired_interval(lambda sums: sign * metrics.value_of(metric, sums), ours, other, together)


def mean_of(metric: str, parts: np.ndarray) -> float:
    """Return a metric from summable parts."""
    return float(metrics.value_of(metric, parts.sum(axis=0)))


def tested(result: Evaluated, one: Answered) -> Rows:
    """Return the rows that a training was asked about."""
    return take(result.rows, one.test)


def truth_of(result: Evaluated, one: Answered) -> np.ndarray:
    """Return their targets."""
    return np.asarray(result.rows[result.project.schema.target][one.test])


def fold(result: Evaluated, one: Answered) -> dict[str, Any]:
    """Return one training as JSON values."""
    metric = result.project.evaluation.metric
    value = metrics.value(metric, per_row(result, metric, one, NETWORK))
    numbers = {"learned": one.learned, "asked": len(one.test), metric: value, "seconds": one.seconds[NETWORK]}
    cutoff = one.outputs[NETWORK].cutoff
    return {"fold": one.fold, "seed": one.seed, **numbers, **({"threshold": cutoff.at} if cutoff else {})}


def together(result: Evaluated) -> tuple[np.ndarray, Outputs]:
    """Return the truths of all test rows, and the network's answers to them."""
    truth = np.concatenate([truth_of(result, one) for one in result.trainings])
    outputs = [one.outputs[NETWORK] for one in result.trainings]
    return truth, Outputs(np.concatenate([one.values for one in outputs]), outputs[0].levels)


def pictured(result: Evaluated) -> dict[str, Any]:
    """Return what plots are drawn from."""
    truth, outputs = together(result)
    if not outputs.levels:
        return {"residuals": residuals(truth.ravel(), outputs.values.ravel())}
    counts = sum(metrics.confusion(truth_of(result, one), *outputs_of(one)) for one in result.trainings)
    known = metrics.labelled(truth)
    if not known.all():
        return {}
    drawn = curves(truth, outputs.values, outputs.levels)
    return {"confusion": np.asarray(counts).tolist(), "levels": list(outputs.levels), "curves": drawn}


def outputs_of(one: Answered) -> tuple[np.ndarray, tuple[str, ...], Any]:
    """Return the network's probabilities, their levels, and what decides between them."""
    outputs = one.outputs[NETWORK]
    return outputs.values, outputs.levels, outputs.cutoff


def note(result: Evaluated) -> str:
    """Say what the protocol does not show."""
    project, said = result.project, []
    dealt_at_random = not result.protocol.startswith(("holdout", "time-split", "rolling"))
    if dealt_at_random and project.schema.time and not project.evaluation.exchangeable:
        said.append(
            "rows of this project depend on when they came, and here later ones teach about earlier ones: rolling-6 "
            "and holdout say what it is worth in use"
        )
    if max(one.learned for one in result.trainings) > MOST_ROWS:
        said.append(f"simple models learn from {MOST_ROWS:,} of the rows at most")
    if project.evaluation.threshold is not None:
        said.append("each training chose its own threshold on its validation rows; baselines answer the likelier level")
    return "; ".join(said)


def sentence(found: dict[str, Any]) -> str:
    """Say in one line what the recipe is worth, and against what."""
    metric = found["metric"]
    ours = found["metrics"][metric]
    beside = {name: one for name, one in ours.items() if isinstance(one, dict)}
    sign = 1 if metrics.HIGHER_IS_BETTER[metric] else -1
    said = f"{found['project']}, {found['protocol']}: {metric} {bounded(ours)} over {found['answers']:,} answers of "
    said += f"{found['trainings']} trainings"
    if beside:
        best = max(beside, key=lambda name: sign * float(beside[name]["value"]))
        said += f"; {gained(beside[best], metric)} over the {best} baseline"
    return said


def table(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line a metric: the network's with its bounds, each baseline's, and the gain over it with bounds."""
    return [
        {"metric": metric, NETWORK: bounded(one), **compared(metric, one)}
        for metric, one in found["metrics"].items()
        if np.isfinite(float(one["value"]))
    ]


def compared(metric: str, one: dict[str, Any]) -> dict[str, str]:
    """Write each baseline's metric, and how much better the network is."""
    beside = {name: each for name, each in one.items() if isinstance(each, dict)}
    return {
        name: f"{number(each['value'])} ({gained(each, metric)})".replace(" ()", "") for name, each in beside.items()
    }
