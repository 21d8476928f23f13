"""What every route works with: the generations in memory, the log's writer, the store."""

import logging
from functools import cached_property

from data.errors import HoldfastError
from monitoring.records import Prediction
from monitoring.store import Store, open_store
from serving.batching import Batcher
from serving.generations import Generations
from serving.refusals import Bodies
from tasks.settings import Settings

log = logging.getLogger(__name__)


class State:
    """Opened when the server starts, closed when it ends; shared by the event loop and the threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bodies = Bodies()
        self.generations = Generations(settings.home, settings.project_folders)

    @cached_property
    def store(self) -> Store:
        """Predictions, labels, verdicts, incidents, ledger."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        return open_store(self.settings.store_url)

    @cached_property
    def batcher(self) -> Batcher:
        """Predicts and logs."""
        return Batcher(self.store.predictions.append)

    def start(self) -> None:
        """Open the store, load what serves, start the threads."""
        self.batcher.start()
        self.generations.start()

    def stop(self) -> None:
        """Finish what is queued and end the threads."""
        self.generations.stop()
        self.batcher.stop()

    def version(self, project: str, generation: int) -> str:
        """Return the version that a generation served: from memory, for one of long ago from the ledger."""
        versions = self.generations.versions
        if (project, generation) not in versions:
            for past in self.store.ledger.generations(project):
                versions.setdefault((project, past.number), past.version)
        return versions.get((project, generation), "unknown")

    def store_problem(self) -> str:
        """Say why the store can't be used; empty if it can."""
        if self.batcher.log_problem:
            return self.batcher.log_problem
        try:
            self.store.ledger.generation("any")
        except HoldfastError as error:
            return str(error)
        return ""


def answered(project: str, generation: int, version: str, predictions: list[Prediction]) -> dict[str, object]:
    """Return the body of an answer. Rows that an earlier generation answered carry that generation themselves."""
    rows = [
        {"id": prediction.id, **prediction.output}
        if prediction.generation == generation
        else {"id": prediction.id, **prediction.output, "generation": prediction.generation}
        for prediction in predictions
    ]
    return {"project": project, "generation": generation, "version": version, "predictions": rows}
