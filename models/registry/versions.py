"""Versions and their aliases, and what the runs that made them keep."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data.errors import Corrupt, NoSuchVersion
from models.card_value import CARD, read
from models.cards import beneath, description
from models.folder import LIMITS
from models.links import version_page
from models.registry.runs import RunLog, started
from models.registry.server import PROBE_SECONDS, probe, translated

if TYPE_CHECKING:
    import httpx
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

STAGES = ("candidate", "judging", "challenger", "champion", "previous", "retired", "refused")
MODEL, GATES = "model", "gates.json"
LARGEST = 2**28  # bytes of an artifact that is read whole
ABOUT_ALIASES = (
    "`champion` serves, `previous` served before it, `challenger` waits for a person, `candidate` is the newest. "
    "An alias that is moved here is a request: it is granted, or put back with the reason on the version's page."
)


@dataclass(frozen=True)
class Version:
    """A registered version as the registry has it."""

    project: str
    number: str
    run_id: str
    description: str
    created_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """Its place in a version's life, one of `STAGES`."""
        return self.tags.get("stage", "candidate")


class Registry:
    """The MLflow server at `tracking_uri`; a registered model has its project's name.

    Every method raises ServerUnavailable, within seconds, when the server doesn't answer.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri.rstrip("/")

    @cached_property
    def opened(self) -> "MlflowClient":
        """The client itself; opening it imports MLflow, 1 to 3 s."""
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @property
    def client(self) -> "MlflowClient":
        """The client, after a look at whether anybody is there: MLflow's own retries take 15 s and more."""
        if self.tracking_uri.startswith("http"):
            probe(self.prober, self.tracking_uri)
        return self.opened

    @cached_property
    def prober(self) -> "httpx.Client":
        """The one HTTP client of the probe, for making one reads every certificate."""
        import httpx

        return httpx.Client(timeout=PROBE_SECONDS, limits=httpx.Limits(max_keepalive_connections=0))

    def start_run(self, project: str, *, name: str, tags: Mapping[str, str]) -> AbstractContextManager[RunLog]:
        """Open a run of the project's experiment, or go on with the one that has this name and all these tags."""
        return started(self.client, project, name, tags)

    def register(self, project: str, run_id: str, folder: Path, *, card: str) -> str:
        """Upload a version's folder and return its number; a run has one version, however often it is registered.

        `card`: what people read on its page until it is judged, as Markdown.
        """
        client = self.client
        with translated():
            for known in client.search_model_versions(f"run_id='{run_id}'"):
                if known.name == project:
                    return str(known.version)
            client.log_artifacts(run_id, str(folder), MODEL)
            create_model(client, project)
            source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
            made = client.create_model_version(
                project,
                source,
                run_id,
                tags={"stage": STAGES[0]},
                description=description("", [], card),
                await_creation_for=0,
            )
        return str(made.version)

    def describe(
        self, project: str, version: str, first_line: str, gates: Sequence[Mapping[str, Any]], card: str = ""
    ) -> None:
        """Keep the gates, and write the verdict as the first line of what people read on the version's page.

        `card`: what stands beneath, where it isn't the card that the run has.
        """
        run_id = self.run_of(project, version)
        with translated():
            self.opened.log_text(run_id, json.dumps(list(gates), indent=1), GATES)
        self.head(project, version, first_line, gates, card)

    def head(
        self, project: str, version: str, first_line: str, gates: Sequence[Mapping[str, Any]] = (), card: str = ""
    ) -> None:
        """Write the first line of a version's page, and leave what is on record; it need not be a version of ours."""
        run_id = self.known(project, version).run_id
        if run_id and not card:
            with suppress(FileNotFoundError, Corrupt):
                card = beneath(read(self.read_artifact(run_id, CARD)))
        with translated():
            self.opened.update_model_version(project, version, description(first_line, gates, card))

    def keep(self, run_id: str, texts: Mapping[str, str]) -> None:
        """Keep texts as artifacts of a run, in the place of those that have their names."""
        client = self.client
        with translated():
            for name, text in texts.items():
                client.log_text(run_id, text, name)

    def alias(self, project: str, name: str) -> str | None:
        """Return the version that has an alias."""
        return self.aliases(project).get(name)

    def aliases(self, project: str) -> dict[str, str]:
        """Return every alias of a project with its version; none for a project without versions."""
        try:
            with translated():
                found = self.client.get_registered_model(project).aliases
        except NoSuchVersion:
            return {}
        return {alias: str(version) for alias, version in found.items()}

    def set_alias(self, project: str, alias: str, version: str) -> None:
        """Give a version an alias, taking it from the one that has it."""
        with translated():
            self.client.set_registered_model_alias(project, alias, version)

    def drop_alias(self, project: str, alias: str, version: str) -> None:
        """Take an alias from this version; one that another version has is left alone."""
        if self.alias(project, alias) == version:
            with translated():
                self.opened.delete_registered_model_alias(project, alias)

    def tag(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Set a version's tags, the stage among them."""
        client = self.client
        with translated():
            for key, value in tags.items():
                client.set_model_version_tag(project, version, key, value)

    def tagged(self, project: str, tag: str, value: str) -> list[str]:
        """Return the numbers of the versions that have this value of a tag, in whatever case."""
        with translated():
            found = self.client.search_model_versions(f"name='{project}' and tags.`{tag}` ILIKE '{value}'")
        return [str(one.version) for one in found]

    def versions(self, project: str) -> list[Version]:
        """Return every version of a project, newest first."""
        client, aliases, found = self.client, self.aliases(project), []
        with translated():
            token: str | None = ""
            while token is not None:
                page = client.search_model_versions(f"name='{project}'", page_token=token or None)
                found += [record(entry, aliases) for entry in page]
                token = page.token or None
        return sorted(found, key=lambda version: int(version.number), reverse=True)

    def version(self, project: str, number: str) -> Version:
        """Return one version.

        Raises: NoSuchVersion.
        """
        return record(self.known(project, number), self.aliases(project))

    def run_of(self, project: str, version: str) -> str:
        """Return the run that made a version.

        Raises: NoSuchVersion, also for a version that came into the registry by another way.
        """
        run_id = self.known(project, version).run_id
        if not run_id:
            raise NoSuchVersion(f"version {version} of {project} was not made by a training run of ours")
        return str(run_id)

    def known(self, project: str, number: str) -> "ModelVersion":
        """Return MLflow's own record of a version.

        Raises: NoSuchVersion.
        """
        if not number.isdecimal():
            raise NoSuchVersion(f"{number!r} is no version of {project}: versions are numbers")
        try:
            with translated():
                return self.client.get_model_version(project, number)
        except NoSuchVersion as error:
            raise NoSuchVersion(f"{project} has no version {number}") from error

    def download(self, project: str, version: str, target: Path) -> Path:
        """Fetch a version's folder as `target`, whole or not at all; whoever reads it verifies it.

        Raises: NoSuchVersion; Corrupt for what is no file of a version's, or larger than one may be, and then nothing
            is fetched; FileExistsError when there is something at `target`.
        """
        run_id = self.run_of(project, version)
        if target.exists():
            raise FileExistsError(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as half, translated():
            for entry in self.opened.list_artifacts(run_id, MODEL):
                what, size = f"{entry.path} of run {run_id}", entry.file_size or 0
                limit = LIMITS.get(entry.path.removeprefix(f"{MODEL}/"))
                if entry.is_dir or limit is None:
                    raise Corrupt(what, "no such file", "a folder" if entry.is_dir else "a stranger's")
                if size > limit:
                    raise Corrupt(what, f"≤ {limit} bytes", f"{size} bytes")
            fetched = Path(self.opened.download_artifacts(run_id, MODEL, half))
            if not fetched.is_dir() or not any(fetched.iterdir()):
                raise NoSuchVersion(f"version {version} of {project} has no files in the registry")
            fetched.rename(target)
        return target

    def read_artifact(self, run_id: str, name: str) -> str:
        """Return a text artifact of a run.

        Raises: FileNotFoundError when the run has none of this name; Corrupt when it is no text.
        """
        try:
            return self.read_file(run_id, name).decode()
        except UnicodeDecodeError as error:
            raise Corrupt(f"{name} of run {run_id}", "text", str(error)) from error

    def read_file(self, run_id: str, name: str, limit: int = LARGEST) -> bytes:
        """Return an artifact of a run, of at most `limit` bytes.

        Raises: FileNotFoundError when the run has none of this name; Corrupt when it is larger.
        """
        client = self.client
        with translated(), TemporaryDirectory() as half:
            sizes = {entry.path: entry.file_size or 0 for entry in client.list_artifacts(run_id)}
            if name not in sizes:
                raise FileNotFoundError(f"run {run_id} has no {name}")
            if sizes[name] > limit:
                raise Corrupt(f"{name} of run {run_id}", f"≤ {limit} bytes", f"{sizes[name]} bytes")
            return Path(client.download_artifacts(run_id, name, half)).read_bytes()

    def version_url(self, project: str, version: str) -> str:
        """Return the page of a version."""
        return version_page(self.tracking_uri, project, version)


def record(found: "ModelVersion", aliases: Mapping[str, str]) -> Version:
    """Read a version of MLflow's, whose own list of aliases is empty after a search."""
    return Version(
        project=found.name,
        number=str(found.version),
        run_id=found.run_id or "",
        description=found.description or "",
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        tags=dict(found.tags),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if version == str(found.version))),
    )


def create_model(client: "MlflowClient", project: str) -> None:
    """Make the project's registered model unless it stands."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(project, description=ABOUT_ALIASES)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
