"""Where registry and ledger meet: which version serves, since when, and why.

The ledger is the truth; the aliases are its image in the registry. A promotion writes the reference, then the
generation (compare-and-set), then the aliases; the keeper finishes what a crash leaves half done.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data.errors import HoldfastError, LostRace, NoSuchVersion, NotPromotable, StaleVerdict
from models.judging import Judgement, hindering
from models.predictor import read_version
from monitoring.effects import Effects, NewDecision
from monitoring.evidence import after_swap
from monitoring.records import Decision, Generation, Message
from projects.declaration import Project
from projects.discovery import file_of
from tasks import aliases, model_cards
from tasks.asking import ask
from tasks.auditing import unaudited
from tasks.referencing import budget_note, build_reference
from tasks.registration import judged, snapshot_of
from tasks.reports import Report
from tasks.resources import Resources
from tasks.trials import GOVERNOR

logger = logging.getLogger(__name__)


def settle(
    resources: Resources, project: Project, version: str, judgement: Judgement, *, intent: int | None, token: int
) -> tuple[Report, str]:
    """Act on a judgement; return the report and the outcome: promoted, challenger, kept or refused."""
    inputs = {"version": version, "intent": intent, "gates": judgement.table()}
    if judgement.verdict in ("passed", "question"):
        serving, verdict = resources.store.ledger.generation(project.name), verdict_on(resources, project.name, version)
        if compared_with(verdict) != (serving.version if serving else None):
            raise LostRace(
                f"version {version} was judged against {named(verdict)}, and that serves no more: judge anew"
            )
        chosen = unaudited(resources, project)
        if chosen:
            judgement = replace(judgement, sentence=f"{judgement.sentence}; {chosen}, so a person decides")
        if judgement.verdict == "question" or project.governor.promote != "auto" or chosen:
            champion = serving.version if serving else None
            asked = ask(resources, project, version, judgement, champion=champion, intent=intent, token=token)
            return asked, "challenger"
        report = serve(
            resources,
            project,
            version,
            replaces=serving,
            manifest=verdict.inputs["manifest"],
            actor=GOVERNOR,
            reason=judgement.sentence,
            gates=judgement.table(),
            token=token,
            intent=intent,
        )
        return report, "promoted"
    links = {f"version {version} in MLflow": resources.models.version_url(project.name, version)}
    outcome = judgement.verdict
    kind = "keep" if outcome == "kept" else "refuse"
    resources.store.ledger.decide(
        project.name,
        kind=kind,
        subject=f"version {version}",
        reason=judgement.sentence,
        inputs=inputs,
        now=resources.now(),
        token=token,
        intent=intent,
        outcome=outcome,
    )
    return Report(f"version {version} {outcome}: {judgement.sentence}", links=links, table=judgement.table()), outcome


def promote(
    resources: Resources,
    name: str,
    version: str,
    *,
    actor: str,
    reason: str,
    waive: tuple[str, ...] = (),
    approval: int | None = None,
) -> Report:
    """Make a registered version serve, if its gates passed or a person waives those that didn't.

    `approval`: the question whose answer this is; it must be open still.

    Raises:
        Answered: `approval` has an answer.
        NoSuchVersion: the registry has no such version.
        NotPromotable: gates failed and are not waived.
        StaleVerdict: it must be judged anew first (tasks.promoting does).
        LostRace: another promotion came first.
    """
    project = resources.project(name)
    serving = resources.store.ledger.generation(name)
    if serving and serving.version == version:
        return Report(f"version {version} serves already, as generation {serving.number}")
    resources.models.known(name, version)
    verdict = verdict_on(resources, name, version)
    gates = verdict.inputs["gates"]
    unshown = hindering(gates)
    if serving and compared_with(verdict) != serving.version:  # a waiver accepts a result, and there is none
        said = f"version {version} of {name} was judged against {named(verdict)}, not against {serving.version}"
        raise StaleVerdict(f"{said}: judge it anew (holdfast promote does)")
    failed = [gate for gate in unshown if gate not in waive]
    if failed:
        said = f"version {version} of {name} failed {', '.join(failed)}; to serve it all the same: "
        raise NotPromotable(said + waiver(name, version, failed), failed)
    if unshown and not reason.strip():
        raise NotPromotable(f"waiving {', '.join(unshown)} of version {version} of {name} needs a reason")
    return serve(
        resources,
        project,
        version,
        replaces=serving,
        manifest=verdict.inputs["manifest"],
        actor=actor,
        reason=reason,
        gates=gates,
        waived=unshown,
        approval=approval,
    )


def verdict_on(resources: Resources, name: str, version: str) -> Decision:
    """Return the ledger's last verdict on a version; what the registry says of it proves nothing.

    Raises: StaleVerdict.
    """
    found = judged(resources, name, version)
    if found is None:
        raise StaleVerdict(f"version {version} of {name} was never judged: run train/{name}")
    return found


def waiver(name: str, version: str, gates: Iterable[str]) -> str:
    """Return the command that serves a version in spite of these gates."""
    return f"holdfast promote {name} {version} {' '.join(f'--waive {gate}' for gate in gates)} --reason '…'"


def compared_with(verdict: Decision) -> str | None:
    """Return the champion that a version was compared with."""
    champion: str | None = verdict.inputs["champion"]
    return champion


def named(verdict: Decision) -> str:
    """Name the champion that a version was compared with."""
    return compared_with(verdict) or "no champion"


def rollback(
    resources: Resources,
    name: str,
    to: str | None,
    *,
    actor: str,
    reason: str,
    over: Generation | None = None,
    messages: Sequence[Message] = (),
) -> Report:
    """Make an earlier champion serve again: a new generation of an old version, checked for integrity only.

    `to` is a version; None means the champion before this one, and again the one before that: what was rolled away
    from is not gone back to unless it is named. `over`: the generation that must serve still. `messages` are sent if,
    and only if, it comes to pass.

    Raises: NoSuchVersion, LostRace.
    """
    project = resources.project(name)
    past = resources.store.ledger.generations(name)
    serving = past[-1] if past else None
    if serving and over and serving.number != over.number:
        raise LostRace(f"generation {serving.number} of {name} serves meanwhile, not {over.number}")
    if serving and serving.version == to:
        return Report(f"version {to} serves already, as generation {serving.number}")
    chosen = standing(resources, name)[:-1] if to is None else [entry for entry in past if entry.version == to]
    if not chosen:
        wanted = f"version {to}" if to else "no earlier version"
        raise NoSuchVersion(f"{wanted} of {name} has served before this one")
    earlier = chosen[-1]
    return serve(
        resources,
        project,
        earlier.version,
        replaces=serving,
        manifest=earlier.manifest_sha256,
        actor=actor,
        reason=f"rollback: {reason}",
        gates=earlier.gates,
        waived=earlier.waived,
        earlier=earlier,
        messages=messages,
    )


def standing(resources: Resources, name: str) -> list[Generation]:
    """Return the generations that rollbacks go back along, oldest first; the last one serves."""
    back = resources.store.ledger.rollbacks(name)
    found: list[Generation] = []
    for entry in resources.store.ledger.generations(name):
        places = [place for place, one in enumerate(found) if one.version == entry.version]
        if entry.number in back and places:
            del found[places[-1] :]  # what came after it was rolled away from
        found.append(entry)
    return found


def serve(
    resources: Resources,
    project: Project,
    version: str,
    *,
    replaces: Generation | None,
    manifest: str,
    actor: str,
    reason: str,
    gates: Sequence[Mapping[str, Any]],
    waived: tuple[str, ...] = (),
    token: int | None = None,
    intent: int | None = None,
    approval: int | None = None,
    earlier: Generation | None = None,
    messages: Sequence[Message] = (),
) -> Report:
    """Write the next generation: verify the version, build its reference, append to the ledger, move the aliases.

    `replaces` is what the decision was made against, and must serve still; `manifest` is the hash of what was
    judged. `earlier` is the generation that a rollback brings back; its own reference is taken. `token` is the lease's,
    checked in the ledger's own transaction; `intent` is the promise that led here and ends with it, `approval` the
    question that is answered by it.
    """
    expected = replaces.number if replaces else 0
    run_id = resources.models.run_of(project.name, version)
    with TemporaryDirectory(dir=resources.settings.home) as temporary:
        folder = resources.models.download(project.name, version, Path(temporary) / "model")
        predictor = read_version(folder, features=project.features, manifest=manifest, project=file_of(project))
        if earlier:
            reference, cut = resources.store.references.get(project.name, earlier.number), earlier.cut
        else:
            snapshot = snapshot_of(resources, project.name, version, run_id)
            own = project.of_schema(predictor.schema)
            reference, cut = build_reference(resources, own, predictor, snapshot, Path(temporary))
    new = Generation(
        project.name, expected + 1, version, run_id, manifest, resources.now(), actor, reason, list(gates), waived, cut
    )
    inputs = {"version": version, "generation": new.number, "replaces": replaces.version if replaces else None}
    inputs |= {"intent": intent} if intent is not None else {}
    inputs |= {"approval": approval} if approval is not None else {}
    kind = "rollback" if earlier else "promote"
    decision = NewDecision(project.name, kind, f"version {version}", reason, {**inputs, "waived": list(waived)})
    resources.store.ledger.append_generation(
        expected,
        new,
        (decision,),
        token=token,
        intent=intent,
        reference=reference,
        messages=messages,
        approval=approval,
    )
    answered = after_swap(resources.store.incidents.open_ones(project.name), new.number)
    resources.store.record(Effects(closed=answered), resources.now())
    try:
        aliases.mirror(resources, project.name)
        model_cards.renew(resources, project.name)
    except HoldfastError as error:  # it serves all the same: the keeper moves the aliases once it can
        logger.warning("%s: aliases and cards follow later: %s", project.name, error)
    links = {f"version {version} in MLflow": resources.models.version_url(project.name, version)}
    logger.info("%s: version %s serves as generation %d", project.name, version, new.number)
    note = budget_note(project, reference) if reference else ""
    sentence = f"version {version} serves as generation {new.number}: {reason}{note}"
    return Report(sentence, links=links, table=[dict(gate) for gate in gates])
