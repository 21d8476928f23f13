"""Addresses of pages in MLflow, which opens those for language models unless it is told otherwise."""

MODE = "workflowType=machine_learning"


def front_page(base: str) -> str:
    """Return the list of experiments."""
    return f"{base}/#/experiments?{MODE}"


def version_page(base: str, project: str, version: str) -> str:
    """Return the page of a version."""
    return f"{base}/#/models/{project}/versions/{version}?{MODE}"


def run_page(base: str, experiment: str, run_id: str) -> str:
    """Return the page of a run."""
    return f"{base}/#/experiments/{experiment}/runs/{run_id}?{MODE}"
