"""A promotion as people ask for it: a version that was not judged against what serves now is judged anew first."""

import logging
import time

from data.errors import HoldfastError, LostRace, ServerUnavailable, StaleVerdict
from monitoring.store.requests import Request
from tasks import promotion, registration
from tasks.rejudging import judge_anew
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

ATTEMPTS = 3  # champions that may come and go while one version is judged
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.5


def promote(
    resources: Resources, name: str, version: str, *, actor: str, reason: str, waive: tuple[str, ...] = ()
) -> Report:
    """Make a version serve, judged anew where its verdict is missing or was made against another champion.

    No question is put to people: who asks for it by name has answered.

    Raises:
        NoSuchVersion: the registry has no such version.
        NotPromotable: gates failed and are not waived.
        LostRace: the champion changed `ATTEMPTS` times meanwhile.
    """
    for _ in range(ATTEMPTS):
        try:
            return promotion.promote(resources, name, version, actor=actor, reason=reason, waive=waive)
        except StaleVerdict as stale:
            logger.info("%s: %s", name, stale)
            judge_again(resources, name, version, waive)
        except LostRace as lost:
            logger.info("%s: %s", name, lost)
    raise LostRace(f"{name} got {ATTEMPTS} other champions while version {version} was judged: ask again")


def judge_again(resources: Resources, name: str, version: str, waive: tuple[str, ...] = ()) -> Report:
    """Judge a registered version against what serves now, and write the verdict where promotions look."""
    project = resources.project(name)
    judgement, manifest, champion = judge_anew(resources, project, version, waived=waive)
    registration.tell_verdict(resources, project, version, judgement, manifest=manifest, champion=champion)
    links = {f"version {version} in MLflow": resources.models.version_url(name, version)}
    return Report(judgement.sentence, table=judgement.table(), links=links)


def judge_request(resources: Resources, id_: int) -> Report:
    """Judge what a request asks for until the verdict holds; a failure that another try would meet is noted there.

    Raises: HoldfastError.
    """
    request = resources.store.requests.get(id_)
    if request is None or request.handled_at is not None:
        return Report(f"request {id_} is answered: {request.outcome if request else 'it never was'}")
    report = Report(f"version {request.version} was judged already")
    try:
        for _ in range(ATTEMPTS):
            if fresh(resources, request):
                break
            report = judge_again(resources, request.project, request.version)
    except ServerUnavailable:
        raise
    except HoldfastError as error:
        resources.store.requests.failed(id_, str(error))
        raise
    return report


def await_answer(resources: Resources, id_: int, judged: Report) -> Report:
    """Wait for the keeper, which alone answers requests, and say what it did; it may be away for a while."""
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        request = resources.store.requests.get(id_)
        if request is None or request.handled_at is not None:
            said = request.outcome if request else None
            return Report(said or judged.sentence, "", judged.links, judged.table)
        if not fresh(resources, request):
            return Report(f"{judged.sentence}; another version serves since, so it is judged anew", table=judged.table)
        time.sleep(POLL_SECONDS)
    return Report(f"{judged.sentence}; the keeper acts on it once it is back", "", judged.links, judged.table)


def fresh(resources: Resources, request: Request) -> bool:
    """Tell whether the version that is asked for was judged against what serves now, or serves already."""
    serving = resources.store.ledger.generation(request.project)
    verdict = registration.judged(resources, request.project, request.version)
    if verdict is None:
        return False
    return serving is None or promotion.compared_with(verdict) == serving.version
