"""The registry's alias and the ledger's champion are kept the same; what a person asked for there becomes a request."""

import logging

from monitoring.records import Generation
from monitoring.store.requests import Request
from tasks import promotion
from tasks.aliases import close, give_back, left, restore
from tasks.forms import RunState, StartRun
from tasks.placing import pointed
from tasks.requesting import ALIAS, TAG, Requester
from tasks.resources import Resources

logger = logging.getLogger(__name__)


class Reconciler:
    """Finds what was asked for, by polling the registry, and has it answered. `reconcile` needs no webhook."""

    def __init__(self, resources: Resources, start_run: StartRun, run_state: RunState) -> None:
        self.resources = resources
        self.requester = Requester(resources, start_run, run_state)

    def answer(self, request: Request) -> None:
        """Bring a request that waits one step further."""
        self.requester.answer(request)

    def reconcile(self, name: str) -> None:
        """Compare the registry with the ledger: the alias, and the tags that ask for a version."""
        serving = self.resources.store.ledger.generation(name)
        found = self.resources.models.alias(name, ALIAS)
        serves = serving is not None and serving.version == found
        if found is None or serves or left(self.resources, name) != found:
            close(self.resources, name, "alias", f"the alias names {f'version {found}' if found else 'nothing'} now")
            self.follow(name, found, serving)
        for tagged in self.resources.models.tagged(name, TAG, "true"):
            self.ask(name, tagged)

    def follow(self, name: str, found: str | None, serving: Generation | None) -> None:
        """Act on what the alias names: all is well, it was lost, or a person moved it."""
        if serving is None:
            if found is not None:
                self.ask(name, found)
            return
        state = self.resources.store.ledger.alias(name)
        if found == serving.version:
            if state.written != serving.version:
                promotion.mirror(self.resources, name)
            if pointed(self.resources.settings.home / "generations" / name) == serving.number:
                close(self.resources, name, "registry", f"version {found} serves")
        elif found is None or found in (state.written, state.intended):
            taken = found is None and state.written == state.intended == serving.version
            (give_back if taken else restore)(self.resources, serving)
        else:
            self.ask(name, found)

    def ask(self, name: str, version: str) -> None:
        """Record a request that no webhook told of, and answer it."""
        request, made = self.resources.store.requests.add(name, version, "poll", self.resources.now())
        if made:
            logger.info("%s: version %s is asked for", name, version)
        self.answer(request)
