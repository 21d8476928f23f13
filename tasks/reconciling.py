"""The registry's alias and the ledger's champion are kept the same; an alias that a person moved is a request."""

import logging

from data.errors import HoldfastError, LostRace, NoSuchVersion, NotPromotable, ServerUnavailable
from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import Generation
from tasks import messages, promotion, registration
from tasks.placing import pointed
from tasks.resources import Resources

logger = logging.getLogger(__name__)


class Reconciler:
    """Compares, restores and answers; the keeper calls it every few seconds."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def reconcile(self, name: str) -> None:
        """Compare the registry's champion with the ledger's; one that a person moved is a request."""
        store, models = self.resources.store, self.resources.models
        serving = store.ledger.generation(name)
        found = models.alias(name, "champion")
        if serving is None:
            if found is not None:
                self.answer_request(name, found, None)
            return
        state = store.ledger.alias(name)
        if found == serving.version:
            if state.written != serving.version:
                promotion.mirror(self.resources, name)
            if pointed(self.resources.settings.home / "generations" / name) == serving.number:
                for incident in store.incidents.open_ones(name, "registry"):
                    store.incidents.close(incident.id, f"version {found} serves", self.resources.now())
            return
        if found is None or found in (state.written, state.intended):
            self.restore(name, serving)
            return
        self.answer_request(name, found, serving)

    def restore(self, name: str, serving: Generation) -> None:
        """Write the aliases as the ledger has them; tell people, once, of a version that the registry has lost."""
        try:
            promotion.mirror(self.resources, name)
        except NoSuchVersion:
            what = f"version {serving.version} of {name} is gone from the registry"
            here = f"generation {serving.number} goes on serving from this machine's copy, and no other can fetch it"
            alarm(self.resources, serving, f"{what}: {here}. Promote another version, or train one.")

    def answer_request(self, name: str, version: str, serving: Generation | None) -> None:
        """Act on a champion that a person named in the registry: roll back, promote, or put it back and say why.

        Where nothing serves yet, putting it back is taking the alias away.
        """
        who = "unauthenticated (MLflow UI)"
        past = {entry.version for entry in self.resources.store.ledger.generations(name)}
        try:
            if version in past:
                promotion.rollback(self.resources, name, version, actor=who, reason="the alias was moved in MLflow")
            else:
                promotion.promote(self.resources, name, version, actor=who, reason="the alias was given in MLflow")
        except (ServerUnavailable, LostRace):
            raise  # no answer: the request stands, and the next round looks again
        except HoldfastError as error:
            logger.warning("%s: version %s was asked for and refused: %s", name, version, error)
            verdict = registration.judged(self.resources, name, version)
            gates = verdict.inputs["gates"] if verdict else []
            self.resources.models.head(name, version, f"REFUSED: {error}", gates)
            if serving:
                self.restore(name, serving)
            else:
                self.resources.models.drop_alias(name, "champion", version)
            self.resources.store.ledger.decide(
                name,
                kind="refuse",
                subject=f"version {version}",
                reason=str(error),
                inputs={
                    "asked_by": who,
                    "serving": serving.version if serving else None,
                    "gates": isinstance(error, NotPromotable),
                },
                now=self.resources.now(),
            )


def alarm(resources: Resources, serving: Generation, text: str) -> None:
    """Tell people of a version that the registry has lost or spoiled; once, while the incident is open."""
    store, name = resources.store, serving.project
    if store.incidents.open_ones(name, "registry"):
        return
    logger.warning("%s", text)
    detail = {"version": serving.version}
    key = f"registry-{serving.number}"
    effects = Effects(
        opened=NewIncident(name, "registry", serving.number, text, detail),
        messages=messages.alerts(resources.settings, name, key, "registry", text),
        decisions=(NewDecision(name, "alert", None, text, detail),),
    )
    store.record(effects, resources.now())
