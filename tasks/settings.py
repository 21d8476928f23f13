"""What the machine, not the project, decides: read from the environment once, by `connect()` or a process's entry."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from data.errors import BadSetting
from monitoring.addresses import APPRISE, HTTP, objection
from projects import discovery

CLONE = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """Every field is the variable `HOLDFAST_<FIELD>`; the two servers keep the names their own tools use."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="forbid", frozen=True, populate_by_name=True)

    home: Path = Field(default=Path(".holdfast"), description="Folder of all state.")
    projects: str = Field(default="", description="Folders with project files, separated by ':'.")
    examples: str = Field(
        default="digits",
        description="Shipped projects that the stack runs beside yours: names separated by ',', or `all`; those that "
        "were ingested into this home run in any case.",
    )
    datasets: Path | None = Field(default=None, description="Folder looked into before downloading a public data set.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where training runs.")
    threads: int | None = Field(
        default=None, ge=1, le=512, description="CPU threads of a training; unset: by the size of its batches."
    )
    clock: Literal["wall", "data"] = Field(
        default="wall", description="`data` in a replay: now is the newest row time."
    )
    public_url: str = Field(
        default="",
        description="Where people reach the service; links in messages start with it. Unset: a tunnel is named.",
    )
    database_url: str = Field(default="", description="The store; empty: SQLite under the home.")
    data_remote: str = Field(
        default="", description="Where batches are pushed: a folder or s3://…; empty: a folder under the home."
    )
    alerts_loopback: bool = Field(
        default=False, description="Alerts may go to this machine without TLS, as to http://127.0.0.1:9000."
    )
    alert_urls: str = Field(
        default="", description="Apprise URLs for Slack, Teams, Discord, PagerDuty and others, separated by spaces."
    )
    webhook_url: str = Field(default="", description="Receives every alert as signed JSON; https.")
    alert_repeat_hours: float = Field(
        default=24.0, gt=0, description="A critical incident that nobody has acknowledged is told again so often."
    )
    webhook_secret: str = Field(default="", description="HMAC key of the signed webhook.")
    smtp_url: str = Field(default="", description="smtp[s]://user:password@host:port; empty: no e-mail.")
    email_to: str = Field(default="", description="Addressees of alerts, separated by commas.")
    email_from: str = Field(default="holdfast@localhost", description="Sender of alerts.")
    lease_seconds: float = Field(default=120.0, gt=0, description="How long a silent retraining keeps its lease.")
    keeper_seconds: float = Field(default=1.0, gt=0, description="Pause between the keeper's rounds.")
    intent_grace_seconds: float = Field(
        default=60.0, gt=0, description="How long an intent waits for its run before the keeper starts one."
    )
    runner_limit: int = Field(default=2, ge=1, description="Flow runs at a time.")
    service_cores: Literal["one", "all"] = Field(
        default="one",
        description="`one` keeps the service's threads that share the interpreter's lock on one core, which costs "
        "less CPU; large networks have all cores either way.",
    )
    service_port: int = Field(default=8000, description="Port of the service.")
    prefect_port: int = Field(default=4200, description="Port of the embedded Prefect server.")
    mlflow_port: int = Field(default=5000, description="Port of the embedded MLflow server.")
    host: str = Field(default="127.0.0.1", description="Where the service listens; the UIs stay on loopback.")
    embedded: bool = Field(
        default=False,
        description="Set by `holdfast up`: its service needs no API key on the loopback until one is made.",
    )
    service_key: str = Field(
        default="", description="API key with which `holdfast inject` and `replay` ask the service, once one is needed."
    )
    prefect_api_url: str = Field(
        default="", validation_alias="PREFECT_API_URL", description="A Prefect server you run."
    )
    mlflow_tracking_uri: str = Field(
        default="", validation_alias="MLFLOW_TRACKING_URI", description="An MLflow server you run."
    )

    @field_validator("home")
    @classmethod
    def absolute(cls, home: Path) -> Path:
        """Paths are absolute once read, so that a child's folder doesn't matter."""
        return home.expanduser().absolute()

    @field_validator("examples")
    @classmethod
    def shipped(cls, examples: str) -> str:
        """Only what is shipped can be named."""
        known = discovery.shipped()
        for name in named(examples):
            if name != "all" and name not in known:
                raise ValueError(f"no shipped project is named {name!r}; there are {', '.join(known)}")
        return examples

    @field_validator("alert_urls", "webhook_url")
    @classmethod
    def safe(cls, urls: str, info: ValidationInfo) -> str:
        """Alerts go over TLS; to this machine also without, where that is allowed."""
        known = HTTP if info.field_name == "webhook_url" else APPRISE
        for number, url in enumerate(urls.split(), 1):
            if why := objection(url, known, loopback=info.data.get("alerts_loopback", False)):
                raise ValueError(f"address {number}: {why}")
        return urls

    @property
    def project_folders(self) -> tuple[Path, ...]:
        """Folders with users' project files, absolute."""
        return tuple(Path(part).expanduser().absolute() for part in self.projects.split(":") if part)

    @property
    def examples_at_work(self) -> frozenset[str]:
        """The shipped projects that run here: those asked for, and those of which this home holds batches."""
        asked, all_ = named(self.examples), discovery.shipped()
        ingested = (path.name for path in (self.home / "registry").glob("*") if path.name in all_)
        return frozenset(all_ if "all" in asked else (*asked, *ingested))

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or f"sqlite:///{self.home / 'holdfast.db'}"

    @property
    def alert_repeat(self) -> timedelta:
        """How often people are told again of what nobody has acknowledged."""
        return timedelta(hours=self.alert_repeat_hours)

    @property
    def lease_ttl(self) -> timedelta:
        """How long a silent retraining keeps its lease."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def workspace(self) -> Path:
        """The DVC workspace of this home: the clone for the clone's own .holdfast, else one inside the home."""
        return CLONE if self.home == CLONE / ".holdfast" else self.home / "workspace"

    @property
    def prefect_url(self) -> str:
        """API URL of the Prefect server in use."""
        return self.prefect_api_url or f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def mlflow_url(self) -> str:
        """URL of the MLflow server in use."""
        return self.mlflow_tracking_uri or f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def service_url(self) -> str:
        """URL under which this machine reaches the service."""
        return f"http://127.0.0.1:{self.service_port}"


def named(examples: str) -> list[str]:
    """Return the names in a list separated by commas."""
    return [name.strip() for name in examples.split(",") if name.strip()]


def read_settings(**overrides: object) -> Settings:
    """Read the environment.

    Raises: BadSetting, naming the variable.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise BadSetting(f"HOLDFAST_{name.upper()}: {first['msg'].removeprefix('Value error, ')}") from error
