"""The only door to MLflow: runs, versions and their aliases, and the webhook by which it tells of them."""

from models.registry.runs import RunLog
from models.registry.versions import GATES, LARGEST, MODEL, Registry, Version

__all__ = ["GATES", "LARGEST", "MODEL", "Registry", "RunLog", "Version"]
