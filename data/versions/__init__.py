"""The only door to DVC: a registry of batches in a Git repository of its own, and a workspace of pipeline outputs."""

from data.versions.erased import Erasure
from data.versions.place import Change
from data.versions.registry import DataRegistry, Landed
from data.versions.snapshot import Kind, Snapshot, SnapshotFile
from data.versions.workspace import Workspace

__all__ = ["Change", "DataRegistry", "Erasure", "Kind", "Landed", "Snapshot", "SnapshotFile", "Workspace"]
