"""What one training, or one evaluation, writes down in MLflow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.registry.server import translated

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DIGEST_LENGTH = 36  # characters that MLflow keeps of a dataset's hash


@dataclass(frozen=True)
class RunLog:
    """What one training writes down. Writing the same again changes nothing."""

    client: "MlflowClient"
    id: str
    project: str
    started: int  # milliseconds since 1970; the time of every number, so that a repeated one is the same one
    experiment: str

    def note(self, text: str) -> None:
        """Write what people read first on the run's page, as Markdown."""
        with translated():
            self.client.set_tag(self.id, "mlflow.note.content", text)

    def params(self, values: Mapping[str, Any]) -> None:
        """Write what the training was told."""
        from mlflow.entities import Param

        with translated():
            self.client.log_batch(self.id, params=[Param(key, str(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Write numbers in one request."""
        self.history([{"number": step, **values}])

    def history(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Write every number of every epoch; an epoch's `number` is its step."""
        from mlflow.entities import Metric

        found = [
            Metric(key, float(value), self.started + int(epoch["number"]), int(epoch["number"]))
            for epoch in epochs
            for key, value in epoch.items()
            if key not in ("number", "epochs")
        ]
        with translated():
            for start in range(0, len(found), 1000):  # MLflow's limit of one request
                self.client.log_batch(self.id, metrics=found[start : start + 1000])

    def dataset(self, digest: str, rows: int, *, source: str) -> None:
        """Write which snapshot was learned from; `digest` is its hash, whole in a tag, `source` where it lies."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=self.project,
            digest=digest[:DIGEST_LENGTH],
            source_type="holdfast",
            source=json.dumps({"uri": source}),
            profile=json.dumps({"num_rows": rows}),
        )
        tags = [InputTag("mlflow.data.context", "training"), InputTag("snapshot", digest)]
        with translated():
            self.client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def json(self, name: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """Keep a value as a JSON artifact."""
        self.text(name, json.dumps(value, indent=1))

    def text(self, name: str, text: str) -> None:
        """Keep a text as an artifact."""
        with translated():
            self.client.log_text(self.id, text, name)

    def file(self, path: Path) -> None:
        """Keep a file as an artifact under its own name."""
        with translated():
            self.client.log_artifact(self.id, str(path))


@contextmanager
def started(client: "MlflowClient", project: str, name: str, tags: Mapping[str, str]) -> Iterator[RunLog]:
    """Open a run of the project's experiment, or go on with the one that has this name and all these tags."""
    with translated():
        experiment = experiment_id(client, project)
        run = same_run(client, experiment, name, tags)
        run = run or client.create_run(experiment, tags=dict(tags), run_name=name)
        client.update_run(run.info.run_id, status="RUNNING")
    try:
        yield RunLog(client, run.info.run_id, project, run.info.start_time, experiment)
    except BaseException:
        with translated():
            client.set_terminated(run.info.run_id, "FAILED")
        raise
    with translated():
        client.set_terminated(run.info.run_id, "FINISHED")


def experiment_id(client: "MlflowClient", project: str) -> str:
    """Return the project's experiment, made or brought back if need be."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(project)
    if known is None:
        try:
            about = f"Trainings of {project}. Card, gates, snapshot and code are among the artifacts of each run."
            return str(client.create_experiment(project, tags={"mlflow.note.content": about}))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody was faster
                raise
            known = client.get_experiment_by_name(project)
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def same_run(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, str]) -> "Run | None":
    """Find the run that has this name and all these tags."""
    quoted = name.replace("'", "")
    for run in client.search_runs([experiment], f"attributes.run_name = '{quoted}'"):
        if tags.items() <= run.data.tags.items():
            return run
    return None
