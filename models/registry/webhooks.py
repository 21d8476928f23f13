"""The webhook by which MLflow tells of its registry: made once, kept as it should be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.registry.server import translated
from models.registry.versions import Registry

if TYPE_CHECKING:
    from mlflow.entities.webhook import Webhook

EVENTS = ("model_version_alias.created", "model_version_alias.deleted", "model_version_tag.set")
ABOUT = "Holdfast is told when a version is given the alias champion or the tag promote."


def ensure(registry: Registry, name: str, url: str, key: str) -> str:
    """Have exactly one webhook of this name that leads to `url`; return why not where the server won't.

    `key`: what MLflow signs with; it can't be read back, so another key needs another name.

    Raises: ServerUnavailable.
    """
    from mlflow.exceptions import MlflowException

    client = registry.client
    try:
        with translated():
            ours = [one for one in all_of(registry) if one.name == name]
            if not ours:
                client.create_webhook(name, url, list(EVENTS), description=ABOUT, secret=key, status="ACTIVE")
            for one in ours[:1]:
                if not leads(one, url):
                    client.update_webhook(one.webhook_id, url=url, events=list(EVENTS), secret=key, status="ACTIVE")
            for one in ours[1:]:  # of two keepers at once
                client.delete_webhook(one.webhook_id)
    except MlflowException as error:
        return str(error).splitlines()[0][:200]
    return ""


def all_of(registry: Registry) -> Sequence["Webhook"]:
    """Return every webhook of the server, the newest first."""
    found: list[Webhook] = []
    token: str | None = None
    while True:
        page = registry.opened.list_webhooks(max_results=100, page_token=token)
        found += page
        token = page.token or None
        if token is None:
            return found


def leads(one: "Webhook", url: str) -> bool:
    """Whether a webhook is what it should be."""
    return one.url == url and one.status.is_active() and {str(event) for event in one.events} == set(EVENTS)
