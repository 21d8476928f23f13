"""A backtest's own home: a store, batches and versions in a folder that goes when it is over, and a clock it moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from data.errors import HoldfastError
from data.versions.folder import FolderBatches
from projects.declaration import Project
from tasks.resources import Resources
from tasks.settings import Settings

if TYPE_CHECKING:
    from models.shelf import Shelf

ELSEWHERE = (
    "database_url",
    "data_remote",
    "alert_urls",
    "webhook_url",
    "webhook_secret",
    "smtp_url",
    "email_to",
    "service_key",
    "prefect_api_url",
    "mlflow_tracking_uri",
)  # what would reach out of the folder
BEGINNING = datetime.fromtimestamp(0, UTC)


class Moved:
    """A clock that stands still until it is moved, and never goes back."""

    def __init__(self, now: datetime = BEGINNING) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time it shows."""
        return self.now

    def to(self, moment: datetime) -> None:
        """Move it."""
        if moment < self.now:
            raise ValueError(f"the clock shows {self.now}, and {moment} is before that")
        self.now = moment


@dataclass
class Rehearsal(Resources):
    """Everything a replay needs, for one project as it is declared, or as a policy changes it."""

    declared: Project | None = None
    file: Path = Path()

    @cached_property
    def batches(self) -> FolderBatches:
        """Batches of the replay."""
        return FolderBatches(self.settings.home / "batches")

    @cached_property
    def models(self) -> "Shelf":
        """Versions of the replay."""
        from models.shelf import Shelf

        return Shelf(self.settings.home / "models")

    def project(self, name: str) -> Project:
        """Return the project, whatever its file says meanwhile."""
        if self.declared is None or self.declared.name != name:
            raise HoldfastError(f"this backtest replays {self.declared and self.declared.name}, not {name}")
        return self.declared

    def project_file(self, name: str) -> Path:  # noqa: ARG002
        """Return where the project is declared."""
        return self.file


@contextmanager
def rehearsal(settings: Settings, project: Project, file: Path, clock: Moved) -> Iterator[Rehearsal]:
    """Make a home for one replay below the system's folder for temporary files, and remove it afterwards."""
    with TemporaryDirectory(prefix="holdfast-backtest-", ignore_cleanup_errors=True) as folder:
        apart = dict.fromkeys(ELSEWHERE, "")
        threads = settings.threads or 1
        inside = settings.model_copy(update={**apart, "home": Path(folder), "clock": "wall", "threads": threads})
        found = Rehearsal(inside, clock, project, file)
        try:
            yield found
        finally:
            found.store.close()
