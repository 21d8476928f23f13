"""The service that BentoML serves in bench/serving.py."""

import os
from pathlib import Path
from typing import Any

import bentoml
from serving_peers import answers, opened


@bentoml.service(workers=1)  # type: ignore[untyped-decorator]
class Bench:
    """One route for both projects."""

    def __init__(self) -> None:
        self.predictors = opened(Path(os.environ["BENCH_HOME"]))

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    def predict(self, project: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer rows of JSON."""
        return answers(self.predictors[project], rows)
