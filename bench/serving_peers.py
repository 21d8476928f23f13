"""Other servers with the same predictor in them, without validation and without a log: `… SERVER PORT HOME`.

They run in an environment of their own that sees ours; see bench/serving.py.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from data.schema import Category, Image, Rows
from models.predictor import Predictor, read_version


def opened(home: Path) -> dict[str, Predictor]:
    return {name: read_version(home / "generations" / name / "1") for name in ("table", "pictures")}


def answers(predictor: Predictor, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer rows of JSON as they come."""
    rows: Rows = {}
    for name, column in predictor.schema.features.items():
        kind = np.uint8 if isinstance(column, Image) else object if isinstance(column, Category) else np.float64
        rows[name] = np.array([row[name] for row in asked], dtype=kind)
    return predictor.predict(rows).answers()


def echo(port: int) -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            body = (await receive())["body"]
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="error")


def litserve(port: int, home: Path) -> None:
    os.environ["BENCH_HOME"] = str(home)
    os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("serving_lit.py")), str(port)])


def bentoml(port: int, home: Path) -> None:
    options = "api_server.logging.access.enabled=false"
    os.environ.update(BENCH_HOME=str(home), BENTOML_DO_NOT_TRACK="True", BENTOML_CONFIG_OPTIONS=options)
    words = ["serve", "serving_bento:Bench", "--port", str(port), "--working-dir", str(Path(__file__).parent)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *words])


def mlflow(port: int, home: Path) -> None:
    os.environ["BENCH_HOME"] = str(home)
    model = home / "mlflow"
    model.mkdir(exist_ok=True)
    (model / "MLmodel").write_text('{"flavors": {"python_function": {"loader_module": "serving_peers"}}}')
    words = ["models", "serve", "-m", str(model), "--env-manager", "local", "--port", str(port)]
    raise SystemExit(subprocess.call([sys.executable, "-m", "mlflow", *words]))


class Model:
    """What MLflow serves: without a signature, which it would check at more cost than the network's."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, frame: Any, params: Any = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """Answer a frame."""
        return answers(self.predictor, frame.to_dict("records"))


def _load_pyfunc(path: str) -> Model:  # noqa: ARG001
    return Model(opened(Path(os.environ["BENCH_HOME"]))["table"])


if __name__ == "__main__":
    name, number = sys.argv[1], int(sys.argv[2])
    if name == "echo":
        echo(number)
    else:
        {"litserve": litserve, "bentoml": bentoml, "mlflow": mlflow}[name](number, Path(sys.argv[3]))
