"""MLflow is asked to tell the service what people do in its registry; where it can't, the poll finds it."""

import hashlib
import logging
from datetime import datetime, timedelta

from data.errors import ServerUnavailable
from models.registry import webhooks
from tasks.resources import Resources
from tasks.secret_files import WEBHOOK, secret
from tasks.settings import Settings

logger = logging.getLogger(__name__)

EVERY, AGAIN = timedelta(minutes=1), timedelta(seconds=10)  # the second after a failure
PATH = "/v1/webhooks/mlflow"


class Hook:
    """Keeps the webhook in MLflow as it should be; a server without webhooks is told of once."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.due: datetime | None = None
        self.problem = ""

    def attend(self) -> None:
        """Look after the webhook, now and then."""
        now = self.resources.now()
        if self.due is not None and now < self.due:
            return
        settings = self.resources.settings
        key = secret(settings.home, WEBHOOK)
        name = f"holdfast-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        try:
            problem = webhooks.ensure(self.resources.models, name, target(settings), key)
            self.due = now + EVERY
        except ServerUnavailable as error:
            problem, self.due = str(error), now + AGAIN
        if problem and problem != self.problem:
            logger.info("MLflow does not tell of its registry, so it is asked every few seconds: %s", problem)
        self.problem = problem


def target(settings: Settings) -> str:
    """Return where MLflow reaches the service; one that others run is told the address for people, if there is one."""
    if not settings.embedded and settings.public_url:
        return settings.public_url.rstrip("/") + PATH
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", "localhost"} else settings.host  # noqa: S104
    return f"http://{host}:{settings.service_port}{PATH}"
