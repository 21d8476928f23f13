"""Is a version what the ledger says it is, and can it be made again? `verify` looks, trains again, and compares.

| outcome | meaning |
|---|---|
| intact | everything on record is there, with its hashes (`quick`: nothing was trained) |
| identical | trained again, every file of the version has the same bytes |
| equivalent | the weights differ, and so do lock, packages, CPU, threads or device; the metric is within its bounds |
| different | something is not what was recorded: the first such thing is named |
| erased | rows that it learned from were erased on request |

What is on record is the ledger's line `register`, which nobody can write through the registry: sources that do not
have its hash are never run.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from data.errors import Corrupt, HoldfastError, NoChampion, NoSuchVersion, ServerUnavailable
from data.versions import Snapshot
from models import card_value
from models.folder import read_manifest, verified
from tasks import plans, provenance, registration
from tasks.cleanroom import CleanRoom, scratch
from tasks.matching import Case, Outcome, Parted, compared
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)


class NotOnRecord(HoldfastError):
    """The ledger does not know how a version was made, so nothing can be held against it."""


class DoesNotHold(HoldfastError):
    """A version is not what it is said to be; the message says where they part."""


@dataclass(frozen=True)
class Verification:
    """What was found. `checks`: one row each thing that was compared; `differs`: name -> [recorded, here]."""

    project: str
    version: str
    outcome: Outcome
    sentence: str
    checks: list[dict[str, str]] = field(default_factory=list)
    differs: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the version is what it is said to be."""
        return self.outcome in ("intact", "identical", "equivalent")

    def report(self) -> Report:
        """Return it as a step's report."""
        return Report(self.sentence, table=list(self.checks))


def verify(
    resources: Resources,
    name: str,
    version: str = "champion",
    *,
    quick: bool = False,
    threads: int | None = None,
    progress: Callable[[float, str], None] = lambda _share, _what: None,
    actor: str = "",
) -> Verification:
    """Examine a version, given by its number or an alias; train it again unless `quick`; write it to the ledger.

    `threads`: other than recorded, to see what that changes; `progress`: told of the training.

    Raises: NoSuchVersion, NoChampion, NotOnRecord; NotRemade when its sources don't run here; ServerUnavailable.
    """
    number = numbered(resources, name, version)
    run = resources.models.run_of(name, number)
    known = registration.origin(resources, name, number)
    if known is None:
        raise NotOnRecord(
            f"the ledger does not say how version {number} of {name} was made: only versions trained "
            "by this release or a later one on this store can be verified; train it again"
        )
    with scratch(resources.settings.home) as folder:
        case = Case(resources, name, number, run, known.inputs["facts"], known.inputs, folder)
        outcome, said = examined(case, quick=quick, threads=threads, progress=progress)
    sentence = f"{outcome}: {name}@{number} {said}"
    result = Verification(name, number, outcome, sentence, case.checks, case.differs, case.weights, case.metrics)
    tell(resources, result, quick=quick, actor=actor)
    return result


def numbered(resources: Resources, name: str, version: str) -> str:
    """Return the number behind a number or an alias; the champion is the ledger's.

    Raises: NoChampion, NoSuchVersion.
    """
    if version == "champion":
        serving = resources.store.ledger.generation(name)
        if serving is None:
            raise NoChampion(name)
        return serving.version
    if version.isdecimal():
        return version
    found = resources.models.alias(name, version)
    if found is None:
        raise NoSuchVersion(f"no version of {name} has the alias {version!r}: give a number, champion or challenger")
    return found


def examined(
    case: Case, *, quick: bool, threads: int | None, progress: Callable[[float, str], None]
) -> tuple[Outcome, str]:
    """Walk from what is on record to the weights; return the outcome and what to say of it."""
    try:
        snapshot = data_of(case)
        if gone := erased(case, snapshot):
            return "erased", gone
        room = CleanRoom(case.folder, case.project, case.facts)
        kept(case, snapshot, room)
        if quick:
            return (
                "intact",
                f"has all that is on record of it: {case.facts['snapshot_rows']} rows in "
                f"{len(snapshot.files)} batches, sources, files and card; nothing was trained",
            )
        room.run(("prepare", "train"), progress, threads)
        return compared(case, room, threads)
    except Parted as first:
        return "different", str(first)
    except Corrupt as error:
        return "different", f"is not what was recorded: {error}"


def data_of(case: Case) -> Snapshot:
    """Return the snapshot that it learned from, if it is the one on record."""
    return registration.snapshot_of(case.resources, case.project, case.version, case.run)


def erased(case: Case, snapshot: Snapshot) -> str:
    """Say which rows are gone on request; nothing where none are."""
    known = case.resources.batches.erased(snapshot.project)
    gone = [known[file.sha256] for file in snapshot.files if file.sha256 in known]
    if not gone:
        return ""
    named = ", ".join(f"{one.batch} ({one.at[:10]}: {one.reason})" for one in gone)
    return f"can't be made again: rows that it learned from were erased on request from {named}"


def kept(case: Case, snapshot: Snapshot, room: CleanRoom) -> None:
    """Check every hash on record: data, sources, the version's files, its verdict and its card; furnish the room.

    Raises: Corrupt, Parted.
    """
    models, facts = case.resources.models, case.facts
    code = artifact(case, provenance.CODE)
    if (found := provenance.sha256(code)) != facts["code"]:
        raise Corrupt(provenance.CODE, facts["code"], found)
    room.furnish(snapshot, case.resources.batches, code)
    start = planned(case, room)
    case.found("data", f"{snapshot.rows} rows in {len(snapshot.files)} batches, snapshot {snapshot.hash[:12]}")
    case.found("sources", f"{provenance.CODE} {facts['code'][:12]}")
    if start:
        case.found("start", start)
    judged = registration.judged(case.resources, case.project, case.version)
    if judged is not None and judged.inputs["manifest"] != facts["manifest"]:
        raise Parted(
            f"was judged as another: manifest {judged.inputs['manifest'][:12]}, made as {facts['manifest'][:12]}"
        )
    folder = models.download(case.project, case.version, case.folder / "version")
    verified(folder, facts["manifest"])
    case.found("files", f"{len(read_manifest(folder, None))} files, manifest {facts['manifest'][:12]}")
    card = card_value.read(artifact(case, card_value.CARD).decode(errors="replace"))
    if (found := card_value.seal(card)) != case.inputs["card"]:
        raise Corrupt(card_value.CARD, case.inputs["card"], found)
    case.quality = card["quality"]
    case.found("card", f"{card_value.CARD} {found[:12]}")


def planned(case: Case, room: CleanRoom) -> str:
    """Put its plan into the room, with the weights that it started from; say of these what they are.

    Raises: Corrupt; Parted, naming the version whose weights can't be had.
    """
    if "plan" not in case.facts:  # made before there were plans
        return ""
    content = artifact(case, plans.PLAN)
    if (found := provenance.sha256(content)) != case.facts["plan"]:
        raise Corrupt(plans.PLAN, case.facts["plan"], found)
    (room.artifacts / plans.PLAN).write_bytes(content)
    plan = plans.read(room.artifacts)
    if plan.parent is None:
        return ""
    try:
        plans.furnish(case.resources, case.project, plan, room.artifacts)
    except (Corrupt, NoSuchVersion) as error:
        raise Parted(f"can't be made again: it started from version {plan.parent.version}, and {error}") from error
    return f"from {case.facts.get('start') or 'scratch'}"


def artifact(case: Case, name: str) -> bytes:
    """Return a file that its run has left.

    Raises: Corrupt, also where it is gone.
    """
    try:
        return case.resources.models.read_file(case.run, name, provenance.LARGEST)
    except FileNotFoundError as error:
        raise Corrupt(f"{name} of run {case.run}", "a file", "nothing") from error


def tell(resources: Resources, result: Verification, *, quick: bool, actor: str) -> None:
    """Write the outcome to the ledger, then as a tag where people see it."""
    now = resources.now()
    inputs = {**asdict(result), "quick": quick, "asked_by": actor}
    for key in ("project", "sentence"):
        inputs.pop(key)
    resources.store.ledger.decide(
        result.project,
        kind="verify",
        subject=f"version {result.version}",
        reason=result.sentence,
        inputs=inputs,
        now=now,
    )
    with suppress(ServerUnavailable, NoSuchVersion):  # the ledger has it; an hour's training isn't lost for a tag
        resources.models.tag(result.project, result.version, {"verified": f"{now:%Y-%m-%d} {result.outcome}"})
