"""The service that LitServe serves in bench/serving.py; its workers import it again."""

import os
import sys
from pathlib import Path
from typing import Any

import litserve as ls
from serving_peers import answers, opened


class Api(ls.LitAPI):  # type: ignore[misc]
    """One route for both projects."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Open the predictors."""
        self.predictors = opened(Path(os.environ["BENCH_HOME"]))

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take JSON as it comes."""
        return request

    def predict(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer rows of JSON."""
        return answers(self.predictors[asked["project"]], asked["rows"])

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """Give JSON."""
        return {"predictions": output}


if __name__ == "__main__":
    server = ls.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error", num_api_servers=1)
