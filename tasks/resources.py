"""The composition root: one object that opens what a step needs, each on first use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BrokenProject
from data.versions import DataRegistry, Workspace
from projects import discovery
from projects.declaration import Project
from tasks.settings import Settings, read_settings

if TYPE_CHECKING:
    from models.registry import Registry
    from monitoring.store import Store


def wall() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)


@dataclass
class Resources:
    """Everything outside the process, opened lazily. One a thread. `clock`: a backtest moves its own."""

    settings: Settings
    clock: Callable[[], datetime] = wall

    @cached_property
    def store(self) -> "Store":
        """Predictions, verdicts, incidents, ledger."""
        from monitoring.store import open_store

        self.settings.home.mkdir(parents=True, exist_ok=True)
        return open_store(self.settings.store_url)

    @cached_property
    def batches(self) -> DataRegistry:
        """Accepted batches and quarantine, versioned."""
        remote = self.settings.data_remote or str(self.settings.home / "remote")
        return DataRegistry(self.settings.home / "registry", remote)

    @cached_property
    def models(self) -> "Registry":
        """Runs, versions and their aliases."""
        from models.registry import Registry

        return Registry(self.settings.mlflow_url)

    @cached_property
    def workspace(self) -> Workspace:
        """Where the pipeline's outputs stand."""
        return Workspace(self.settings.workspace)

    @property
    def calibrations(self) -> Path:
        """The folder in which the calibrations of references are kept; whoever finds none makes them again."""
        return self.settings.home / "calibrations"

    def project(self, name: str) -> Project:
        """Load one project file as it is now."""
        return discovery.load(name, self.settings.project_folders)

    def projects(self) -> tuple[dict[str, Project], dict[str, BrokenProject]]:
        """Load the users' project files and the shipped ones at work; broken ones beside the others."""
        return discovery.load_all(self.settings.project_folders, self.settings.examples_at_work)

    def project_file(self, name: str) -> Path:
        """Return where a project is declared."""
        return discovery.find(self.settings.project_folders)[name].path

    def artifacts(self, name: str) -> Path:
        """Return the folder of a project's pipeline outputs."""
        return self.settings.workspace / "artifacts" / name

    def now(self) -> datetime:
        """Return the time of the clock; wall time but in a backtest."""
        return self.clock()


def connect(settings: Settings | None = None) -> Resources:
    """Read the settings unless given, and return the resources; nothing is opened yet."""
    return Resources(settings or read_settings())
