"""The service beside other servers with the same predictor, and beside an echo, one after the other in one run.

    python bench/serving.py [--seconds 5] [--peers]

Ours validates each row, logs it durably before it answers, asks for an API key, keeps an Idempotency-Key with each
answer and counts; the others do none of that. `--peers` installs LitServe and BentoML into an environment of their own
below the system's temporary folder, which sees ours; MLflow is in our lock. The load comes from this process, on the
same cores: what it costs is printed beside, so that nobody takes it for the server's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import serving_load as load

from data.environment import child_environment
from monitoring.store import open_store

BENCH = Path(__file__).parent
PEERS = Path(tempfile.gettempdir()) / "holdfast-bench-peers"
JSON = {"content-type": "application/json"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
Row = dict[str, Any]


def made(home: Path) -> dict[str, list[Row]]:
    """Write two projects' first generations by a process of its own, so that torch stays out of this one."""
    code = f"import json, serving_home; print(json.dumps(serving_home.make(serving_home.Path({str(home)!r}))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCH, env=visible(), capture_output=True, check=True)
    asked: dict[str, list[Row]] = json.loads(done.stdout.splitlines()[-1])
    return asked


def visible() -> dict[str, str]:
    """Return an environment in which children find the clone and the bench."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": programs, "PYTHONPATH": f"{BENCH.parent}:{BENCH}", "PYTHONSAFEPATH": ""}


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int, ping: bytes) -> Iterator[tuple[int, float]]:
    """Start a server, wait until it answers with 200, and yield its process id and the seconds that took."""
    started = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    try:
        while True:
            try:
                if load.ask(port, ping)[0] == 200:
                    break
            except OSError:
                assert process.poll() is None, command
            assert time.perf_counter() - started < 120, command
            time.sleep(0.02)
        yield process.pid, time.perf_counter() - started
    finally:
        if process.poll() is None:
            family = load.family(process.pid)
            for one in family:
                one.terminate()
            psutil.wait_procs(family, 20)


def compared(name: str, port: int, pid: int, make: load.Make, seconds: float) -> load.Load:
    """Print what one kind of request costs at 32 connections and at 200 a second."""
    load.closed_loop(port, pid, make, 1.0)
    busy = load.closed_loop(port, pid, make, seconds)
    calm = load.fixed_rate(port, pid, make, seconds)
    assert not busy.refused, name
    print(
        f"{name:24}{busy.rate:8.0f}/s  p50 {busy.p50 * 1e3:6.2f}  p99 {busy.p99 * 1e3:6.2f} ms  "
        f"CPU {busy.cpu * 1e6:6.0f} us (load {busy.own * 1e6:3.0f})   "
        f"at 200/s: p50 {calm.p50 * 1e3:6.2f}  p99 {calm.p99 * 1e3:6.2f} ms",
        flush=True,
    )
    return load.Load(busy.requests, busy.wall, busy.p50, calm.p99, busy.cpu, busy.own, busy.refused)


def peer(name: str, python: str, home: Path, asked: dict[str, list[Row]], seconds: float) -> load.Load:
    """Measure another server; its answers are not looked at."""
    port = load.free_port()
    rows = asked["table"][:1]
    path, body = "/predict", {"project": "table", "rows": rows}
    if name == "mlflow":
        path, body = "/invocations", {"dataframe_records": rows}
    make = load.prepared(path, json.dumps(body).encode(), dict(JSON))
    command = [python, str(BENCH / "serving_peers.py"), name, str(port), str(home)]
    with running(command, visible(), port, make(0)) as (pid, ready):
        seen = compared(f"{name}, one row", port, pid, make, seconds)
        if name in {"litserve", "bentoml"}:
            picture = json.dumps({"project": "pictures", "rows": asked["pictures"][:1]}).encode()
            compared(f"{name}, one picture", port, pid, load.prepared(path, picture, dict(JSON)), seconds)
        print(f"{'':24}ready in {ready:.1f} s, {load.memory(pid):.0f} MB")
    return seen


def ours(home: Path, asked: dict[str, list[Row]], seconds: float) -> load.Load:
    """Measure the service with everything on."""
    store = open_store(f"sqlite:///{home / 'holdfast.db'}")
    secret = store.clients.add("bench", ["predict"], datetime.now(UTC), "bench")[1]
    store.close()
    port = load.free_port()
    own = {"HOLDFAST_SERVICE_PORT": str(port), "HOLDFAST_DATABASE_URL": "", "HOLDFAST_PROJECTS": ""}
    key = {"authorization": f"Bearer {secret}"}

    def asking(project: str, rows: int, **more: str) -> load.Make:
        body = json.dumps({"rows": asked[project][:rows]}).encode()
        return load.prepared(f"/v1/{project}/predict", body, {**JSON, **key, **more})

    ping = asking("pictures", 1)(0)
    with running([sys.executable, "-m", "serving"], child_environment(home, own), port, ping) as (pid, ready):
        print(f"holdfast: ready in {ready:.2f} s, {load.memory(pid):.0f} MB before any load")
        seen = compared("holdfast, one row", port, pid, asking("table", 1, **{"idempotency-key": "n"}), seconds)
        compared("  without Idempotency-Key", port, pid, asking("table", 1), seconds)
        compared("holdfast, one picture", port, pid, asking("pictures", 1), seconds)
        alone = load.closed_loop(port, pid, asking("pictures", 64), seconds, 1)
        print(f"{'64 pictures as JSON':24}p50 {alone.p50 * 1e3:.1f} ms, CPU {alone.cpu * 1e3:.1f} ms")
        print(f"{'':24}{load.memory(pid):.0f} MB before the first Arrow request")
        alone = load.closed_loop(port, pid, bulk(asked["pictures"], key), seconds, 1)
        print(f"{'64 pictures as Arrow':24}p50 {alone.p50 * 1e3:.1f} ms, CPU {alone.cpu * 1e3:.1f} ms")
        print(f"{'':24}{load.memory(pid):.0f} MB after it")
    return seen


def bulk(rows: list[Row], key: dict[str, str]) -> load.Make:
    """Return a request with pictures as an Arrow stream."""
    import numpy as np
    import pyarrow as pa

    flat = np.array([row["image"] for row in rows], np.uint8)
    images = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat[0].size)
    table = pa.table({"image": images})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return load.prepared("/v1/pictures/predict", sink.getvalue().to_pybytes(), {**ARROW, **key})


def installed() -> str:
    """Return the Python of the peers' environment, made where there is none."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        print(f"installing LitServe and BentoML into {PEERS}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        packages = next((PEERS / "lib").glob("python*")) / "site-packages"
        ours_too = next(path for path in sys.path if path.endswith("site-packages"))
        (packages / "lock.pth").write_text(f"{ours_too}\n")
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "litserve", "bentoml"]
        subprocess.run([str(python), *words], check=True)
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--peers", action="store_true")
    wanted = parser.parse_args()
    python = installed() if wanted.peers else ""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        home = Path(folder)
        asked = made(home)
        print(
            f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, {wanted.seconds:g} s each, 32 connections"
        )
        body = json.dumps({"rows": asked["table"][:1]}).encode()
        port = load.free_port()
        command = [sys.executable, str(BENCH / "serving_peers.py"), "echo", str(port)]
        make = load.prepared("/", body, dict(JSON))
        seen: dict[str, load.Load] = {}
        with running(command, visible(), port, make(0)) as (pid, _):
            seen["echo"] = compared("echo", port, pid, make, wanted.seconds)
        mine = ours(home, asked, wanted.seconds)
        if wanted.peers:
            for name, with_python in (("mlflow", sys.executable), ("litserve", python), ("bentoml", python)):
                seen[name] = peer(name, with_python, home, asked, wanted.seconds)
        for name, other in seen.items():
            print(
                f"holdfast, one row, to {name:9} throughput x{mine.rate / other.rate:6.2f}  "
                f"p99 at 200/s x{mine.p99 / other.p99:5.2f}  CPU x{mine.cpu / other.cpu:5.2f}"
            )
        print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
