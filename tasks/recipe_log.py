"""An evaluation of a recipe as one run of the project's experiment: its numbers, its plots, and what it was."""

import logging
import math
import tempfile
from pathlib import Path
from typing import Any

from data.errors import ServerUnavailable
from models.card_pictures import draw
from models.links import run_page
from tasks.recipe_report import sentence
from tasks.resources import Resources

logger = logging.getLogger(__name__)


def log(resources: Resources, found: dict[str, Any]) -> str:
    """Write what `recipe_report.facts` found, and return the run's page; nothing where no server answers."""
    tags = {
        "kind": "evaluation",
        "protocol": found["protocol"],
        "at": resources.now().isoformat(timespec="microseconds"),
        "mlflow.source.name": f"holdfast evaluate {found['project']} --protocol {found['protocol']}",
    }
    try:
        with resources.models.start_run(found["project"], name=f"evaluate-{found['protocol']}", tags=tags) as run:
            run.note(sentence(found))
            run.params({name: found[name] for name in ("protocol", "seeds", "trainings", "data")})
            run.metrics(numbers(found))
            run.json("evaluation.json", found)
            with tempfile.TemporaryDirectory() as folder:
                for path in draw(found, Path(folder)):
                    run.file(path)
            return run_page(resources.models.tracking_uri, run.experiment, run.id)
    except ServerUnavailable as error:
        logger.info("the evaluation is not logged: %s", error)
        return ""


def numbers(found: dict[str, Any]) -> dict[str, float]:
    """Return the metrics as a run keeps them: of the network with their bounds, and of each baseline."""
    flat: dict[str, float] = {"seconds": float(found["seconds"])}
    for metric, one in found["metrics"].items():
        ends = {metric: one["value"], f"{metric}.low": one["low"], f"{metric}.high": one["high"]}
        flat |= {name: float(value) for name, value in ends.items()}
        flat |= {f"{metric}.{name}": float(each["value"]) for name, each in one.items() if isinstance(each, dict)}
    return {name: value for name, value in flat.items() if math.isfinite(value)}
