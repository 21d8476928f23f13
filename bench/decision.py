"""How long a client waits for one decision: a shipped project on a whole stack, one row a request, one after another.

    python bench/decision.py [--project fraud] [--requests 500]

The project is ingested and trained, its version promoted, and rows of its judged share are sent over one connection by
this process. A decision that was answered is durably logged. Beside it stands what the network alone takes for the
row, in this process, and an answer over the same HTTP server that decides nothing (`/healthz`).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.schema import take
from holdfast import stack
from models.predictor import read_version
from tasks.client import Service, asked
from tasks.recipes import known_rows
from tasks.resources import connect
from tasks.traffic import wait_until

WARM = 50  # requests that don't count


def main() -> None:
    """Measure and print milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="fraud")
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    name = options.project
    os.environ["HOLDFAST_EXAMPLES"] = name
    with tempfile.TemporaryDirectory() as home, stack.lent(Path(home), print) as settings:
        for words in (["ingest", name], ["train", name], ["promote", name, "1", "--reason", "to be measured"]):
            subprocess.run([sys.executable, "-m", "holdfast", *words], env=os.environ, check=words[0] != "promote")
        folder = settings.home / "generations" / name
        if not wait_until((folder / "current.json").exists, 120):
            sys.exit(f"no version of {name} came to serve")
        resources = connect(settings)
        project = resources.project(name)
        rows, _ = known_rows(resources, project)
        rows = take(rows, np.arange(min(options.requests + WARM, len(rows[project.schema.key]))))
        requests = [{**row, project.schema.key: f"measured-{at}"} for at, row in enumerate(asked(project.schema, rows))]
        predictor = read_version(next(folder.glob("1")))
        alone = [{n: v for n, v in take(rows, [i]).items() if n != project.schema.target} for i in range(len(requests))]
        with Service(settings.service_url) as service:
            wait_until(lambda: service.http.get("/readyz").is_success, 60)
            variants: dict[str, Callable[[int], object]] = {
                "a decision": lambda at: service.predict(name, [requests[at]]),
                "the network alone": lambda at: predictor.predict(alone[at]),
                "an answer that decides nothing": lambda _: service.http.get("/healthz").raise_for_status(),
            }
            report(variants, len(requests))
        resources.store.close()


def report(variants: dict[str, Callable[[int], object]], count: int) -> None:
    """Take turns, a request each, and print percentiles in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for at in range(count):
        for name, ask in variants.items():
            began = time.perf_counter()
            ask(at)
            taken[name].append((time.perf_counter() - began) * 1e3)
    print(f"{count - WARM} each, in turns; load {os.getloadavg()[0]:.1f}")
    print(f"{'':32} {'median':>8} {'p95':>8} {'p99':>8}  ms")
    for name, values in taken.items():
        half, most, nearly = np.percentile(values[WARM:], [50, 95, 99])
        print(f"{name:32} {half:8.2f} {most:8.2f} {nearly:8.2f}")


if __name__ == "__main__":
    main()
