"""Addresses of pages in MLflow, which opens those for language models unless it is told otherwise."""

import re

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


def artifact_page(experiment: str, run_id: str, name: str) -> str:
    """Return the page of an artifact, from any other page of the same server; ids that are none lead nowhere."""
    run = re.sub(r"\W", "", run_id)
    return f"#/experiments/{re.sub(r'[^0-9]', '', experiment)}/runs/{run}/artifacts/{name}?{MODE}"
