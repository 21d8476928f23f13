"""The variables the tools need before any of them is imported: telemetry off, folders under the home, malloc.

`python -m data.environment HOME` prints them as shell exports, for the Makefile and the images.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # glibc gives big buffers back to the kernel and page-faults them in again: 1.6 times slower on image batches
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "67108864",
    # threads that spin while they wait take a busy machine's cores from each other: 2 trained 10 times slower than 1
    "OMP_WAIT_POLICY": "PASSIVE",
    # a user's folder with its own models/ or data/ must not shadow ours
    "PYTHONSAFEPATH": "1",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "holdfast,flows,serving,tasks,projects,models,monitoring,data",
}


def tool_environment(home: Path) -> dict[str, str]:
    """Return every variable that a process of ours should start with, for this home."""
    dvc = home / "dvc"
    return {
        **QUIET,
        "HOLDFAST_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "DVC_SITE_CACHE_DIR": str(dvc / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(dvc / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(dvc / "system"),
    }


def foreign(variables: Mapping[str, str]) -> list[str]:
    """Return the variables that lead to a user's own servers, store and people; what only tunes a machine stays."""
    kept = ("HOLDFAST_DEVICE", "HOLDFAST_DATASETS")
    ours = [name for name in variables if name.startswith("HOLDFAST_") and name not in kept]
    return [*ours, *(name for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI") if name in variables)]


def child_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with the tools' variables laid over it, then `extra`."""
    return {**os.environ, **tool_environment(home), **(extra or {})}


def main() -> None:
    """Print shell exports."""
    home = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HOLDFAST_HOME", ".holdfast")).absolute()
    for name, value in tool_environment(home).items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


if __name__ == "__main__":
    main()
