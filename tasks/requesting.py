"""What a person asked for in the registry is answered: granted, judged anew first, or refused with the reason.

The keeper alone answers, so that no two do. Every step can be cut off and done again: the ledger's decision on a
request is written once, before the registry is told of it.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from data.errors import Answered, HoldfastError, LostRace, NoSuchVersion, NotPromotable, ServerUnavailable, StaleVerdict
from models.judging import hindering
from monitoring.records import Decision, Generation
from monitoring.store.requests import ALIAS, TAG, Request
from tasks import approving, promotion, registration
from tasks.aliases import UNKNOWN, give_back, leave, left, mirror, own, restore
from tasks.forms import RunState, StartRun
from tasks.placing import pointed
from tasks.promoting import ATTEMPTS, fresh
from tasks.resources import Resources
from tasks.telling import close

if TYPE_CHECKING:
    from models.registry import Version

logger = logging.getLogger(__name__)

PATIENCE = timedelta(hours=1)  # an alias that comes back within it was put back once, and is left where it is
OVER = {"Completed", "Failed", "Crashed", "Cancelled", "Missing"}
PATH = re.compile(r"(?<![\w:/.])/(?:[\w.@+-]+/)+([\w.@+-]*)")


class Requester:
    """Answers requests, and finds those that no webhook told of. `start_run`, `run_state` speak to the orchestrator."""

    def __init__(self, resources: Resources, start_run: StartRun, run_state: RunState) -> None:
        self.resources = resources
        self.start_run, self.run_state = start_run, run_state

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
        state = self.resources.store.ledger.alias(name)
        if serving is not None and found == serving.version:
            if state.written != serving.version:
                mirror(self.resources, name)
            if pointed(self.resources.settings.home / "generations" / name) == serving.number:
                close(self.resources, name, "registry", f"version {found} serves")
        elif serving is not None and (found is None or own(self.resources, name, found)):
            taken = found is None and state.written == state.intended == serving.version
            (give_back if taken else restore)(self.resources, serving)
        elif found is not None:
            self.ask(name, found)

    def ask(self, name: str, version: str) -> None:
        """Record a request that no webhook told of, and answer it."""
        request, made = self.resources.store.requests.add(name, version, "poll", self.resources.now())
        if made:
            logger.info("%s: version %s is asked for", name, version)
        self.answer(request)

    def answer(self, request: Request) -> None:
        """Bring a request one step further; one that waits for its run or for a server is looked at again.

        Raises: ServerUnavailable.
        """
        if request.run and not fresh(self.resources, request) and self.run_state(request.run) not in OVER:
            return
        name, version = request.project, request.version
        serving = self.resources.store.ledger.generation(name)
        found = self.found(name, version)
        asked = asked_by(found)
        if serving and serving.version == version:
            if found and ALIAS not in asked:
                give_back(self.resources, serving)
            self.settle(request, serving)
        elif (before := self.decided(request)) is not None:
            self.carry_out(request, asked, before, serving)
        elif serving and asked == {ALIAS} and own(self.resources, name, version):
            restore(self.resources, serving)
            self.withdraw(request, "nobody moved the alias: it had yet to follow what serves")
        elif found is None or not asked:
            self.withdraw(request, "the alias or the tag was taken away before it was judged")
        else:
            if found.stage != "judging":  # it shows that the request was seen
                self.resources.models.tag(name, version, {"stage": "judging"})
            self.decide(request, asked, serving)

    def found(self, name: str, version: str) -> "Version | None":
        """Return a version as the registry has it now."""
        try:
            return self.resources.models.version(name, version)
        except NoSuchVersion:
            return None

    def decide(self, request: Request, asked: frozenset[str], serving: Generation | None) -> None:
        """Grant, judge anew, or refuse."""
        try:
            self.grant(request, asked)
        except (ServerUnavailable, LostRace, Answered) as error:
            logger.info("request %d: %s", request.id, error)  # no answer: it is looked at again
            if isinstance(error, ServerUnavailable):
                raise
        except StaleVerdict as stale:
            self.judge(request, asked, serving, stale)
        except HoldfastError as error:
            self.refuse(request, asked, serving, error)
        else:
            self.settle(request, self.resources.store.ledger.generation(request.project))

    def grant(self, request: Request, asked: frozenset[str]) -> None:
        """Roll back to a version that served before, or promote one whose gates passed."""
        name, version, actor = request.project, request.version, UNKNOWN
        how = "the alias was given in MLflow" if ALIAS in asked else f"it was tagged {TAG}=true in MLflow"
        past = {entry.version for entry in self.resources.store.ledger.generations(name)}
        if version in past:
            promotion.rollback(self.resources, name, version, actor=actor, reason=how)
            return
        registration.made(self.resources, name, version)
        if approving.settle_by_alias(self.resources, name, version, actor) is None:
            promotion.promote(self.resources, name, version, actor=actor, reason=how)

    def judge(self, request: Request, asked: frozenset[str], serving: Generation | None, stale: StaleVerdict) -> None:
        """Have the version judged anew by a run; refuse it once that has failed."""
        if request.reason:
            why = NotPromotable(f"it could not be judged anew: {request.reason}; next: run train/{request.project}")
            self.refuse(request, asked, serving, why)
        elif request.attempt >= ATTEMPTS:
            why = NotPromotable(f"{stale}; {ATTEMPTS} runs that should judge it anew have ended without a verdict")
            self.refuse(request, asked, serving, why)
        else:
            attempt = request.attempt + 1
            parameters = {"project": request.project, "version": request.version, "request": request.id}
            run = self.start_run(f"promote/{request.project}", parameters, f"request-{request.id}-{attempt}")
            self.resources.store.requests.judging(request.id, run, attempt)
            logger.info("request %d: %s: run %s judges it anew", request.id, stale, run)

    def refuse(self, request: Request, asked: frozenset[str], serving: Generation | None, error: HoldfastError) -> None:
        """Decide once what a refusal means for the alias, then carry it out."""
        name, version = request.project, request.version
        failed = error.failed if isinstance(error, NotPromotable) else ()
        verdict = registration.judged(self.resources, name, version)
        gates = verdict.inputs["gates"] if verdict else []
        why = explained(name, version, error, failed, gates)
        alias = None if ALIAS not in asked else "left" if self.put_back_lately(name, version) else "put back"
        logger.warning("%s: version %s was asked for and refused: %s", name, version, why)
        inputs = {
            "request": request.id,
            "asked_by": UNKNOWN,
            "source": request.source,
            "asked": sorted(asked),
            "serving": serving.version if serving else None,
            "gates": bool(failed),
            "alias": alias,
        }
        decision = self.resources.store.ledger.decide(
            name, kind="refuse", subject=f"version {version}", reason=why, inputs=inputs, now=self.resources.now()
        )
        self.carry_out(request, asked, decision, serving)

    def carry_out(
        self, request: Request, asked: frozenset[str], decision: Decision, serving: Generation | None
    ) -> None:
        """Do what a refusal says: tell it on the version's page, put the alias back or leave it and tell people."""
        name, version, models = request.project, request.version, self.resources.models
        left, why = decision.inputs["alias"] == "left", decision.reason
        stays = f"version {serving.version} goes on serving" if serving else "nothing serves"
        head = f"REFUSED: {why}"
        if left:
            head += f"; the alias was put back once and is left here now: {stays}"
        verdict = registration.judged(self.resources, name, version)
        try:
            models.head(name, version, head, verdict.inputs["gates"] if verdict else [])
            models.tag(name, version, {"stage": "refused", **({TAG: "refused"} if TAG in asked else {})})
        except NoSuchVersion:
            logger.info("%s: version %s is gone", name, version)
        if ALIAS in asked and left:
            leave(self.resources, name, version, serving, why)
        elif ALIAS in asked and serving:
            restore(self.resources, serving)
        elif ALIAS in asked:
            models.drop_alias(name, ALIAS, version)
        self.resources.store.requests.handled(request.id, f"refused: {why}", self.resources.now())

    def put_back_lately(self, name: str, version: str) -> bool:
        """Whether this version was given the alias and lost it again within `PATIENCE`."""
        since = self.resources.now() - PATIENCE
        found = self.resources.store.ledger.decisions(
            name, subject=f"version {version}", kinds=("refuse",), since=since
        )
        return any(one.inputs.get("alias") in ("put back", "left") for one in found)

    def decided(self, request: Request) -> Decision | None:
        """Return the refusal of a request that was cut off before it was carried out."""
        found = self.resources.store.ledger.decisions(
            request.project, subject=f"version {request.version}", kinds=("refuse",), since=request.received_at
        )
        return next((one for one in found if one.inputs.get("request") == request.id), None)

    def withdraw(self, request: Request, why: str) -> None:
        """Note that neither alias nor tag asks for the version."""
        name, version = request.project, request.version
        inputs = {"request": request.id, "asked_by": UNKNOWN, "source": request.source}
        store = self.resources.store
        store.ledger.decide(
            name, kind="withdraw", subject=f"version {version}", reason=why, inputs=inputs, now=self.resources.now()
        )
        try:
            self.resources.models.tag(name, version, {"stage": self.stage(name, version)})
        except NoSuchVersion:
            logger.info("%s: version %s is gone", name, version)
        store.requests.handled(request.id, f"withdrawn: {why}", self.resources.now())

    def stage(self, name: str, version: str) -> str:
        """Return the place in its life that the ledger knows a version to have, which serves not."""
        past = [entry.version for entry in self.resources.store.ledger.generations(name)]
        if version in past:
            others = [one for one in past if one != past[-1]]
            return "previous" if others[-1] == version else "retired"
        verdict = registration.judged(self.resources, name, version)
        return "challenger" if verdict and not hindering(verdict.inputs["gates"]) else "candidate"

    def settle(self, request: Request, serving: Generation | None) -> None:
        """Note that a request is granted; a tag that asked for it, now or before, says so."""
        found = self.found(request.project, request.version)
        if found and found.tags.get(TAG, "granted") != "granted":
            self.resources.models.tag(request.project, request.version, {TAG: "granted"})
        number = serving.number if serving else 0
        said = f"granted: version {request.version} serves as generation {number}"
        self.resources.store.requests.handled(request.id, said, self.resources.now())


def asked_by(found: "Version | None") -> frozenset[str]:
    """Return how the registry asks for a version: by the alias, by the tag, by neither."""
    if found is None:
        return frozenset()
    tagged = found.tags.get(TAG, "").strip().lower() == "true"
    return frozenset(({ALIAS} if ALIAS in found.aliases else set()) | ({TAG} if tagged else set()))


def explained(
    name: str, version: str, error: HoldfastError, failed: Sequence[str], gates: Sequence[Mapping[str, Any]]
) -> str:
    """Return why a version was refused and what next, without the paths of this machine."""
    said = {str(gate["gate"]): str(gate["sentence"]).removeprefix(f"{gate['gate']}: ") for gate in gates}
    if failed and all(gate in said for gate in failed):
        return f"{'; '.join(said[gate] for gate in failed)}; to waive: `{promotion.waiver(name, version, failed)}`"
    return PATH.sub(r"\1", " ".join(str(error).split()))
