"""A version judged anew, without training: against today's champion, on rows restored from the data registry."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import WrittenBefore
from data.schema import Rows, length, take
from data.versions import Snapshot
from models.judging import Judgement
from models.predictor import manifest_sha256, read_version
from projects.declaration import Project
from projects.discovery import file_of
from tasks.comparison import judge_version
from tasks.ingestion import write_snapshot
from tasks.preparation import prepare, roles, spared
from tasks.registration import made, snapshot_of
from tasks.resources import Resources
from tasks.role_files import read_role, stored_role, write_role
from tasks.snapshot_rows import among, gather


def judge_anew(
    resources: Resources, project: Project, version: str, *, waived: tuple[str, ...] = ()
) -> tuple[Judgement, str, str | None]:
    """Judge a registered version by today's gates, against what serves now and on the newest rows there are.

    Nothing is trained and nothing is recorded. Returns the judgement, the hash of what was judged, and the
    version it was compared with.

    Raises:
        NoSuchVersion: the registry has no such version, or no files of it.
        NotPromotable: no training of ours made it.
        Corrupt: it is not what was registered, or its snapshot is not.
        TooFewRows: the anchor can't show the margin, whatever the candidate.
    """
    run_id = resources.models.run_of(project.name, version)
    known = made(resources, project.name, version).inputs["facts"]
    snapshot = snapshot_of(resources, project.name, version, run_id)
    resources.settings.home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=resources.settings.home, prefix=".judging-") as temporary:
        folder = Path(temporary)
        model = resources.models.download(project.name, version, folder / "model")
        predictor = read_version(model, features=project.features, manifest=known["manifest"], project=file_of(project))
        own = project.of_schema(predictor.schema)
        deal_again(resources, own, folder, snapshot)
        judgement = judge_version(resources, own, folder, waived=waived)
        return judgement, manifest_sha256(model), judgement.champion


def deal_again(resources: Resources, project: Project, folder: Path, snapshot: Snapshot) -> None:
    """Prepare the roles as the version knew them, and let the rows that came since judge too."""
    write_snapshot(folder / "snapshot.json", snapshot)
    prepare(project, resources.batches, folder)
    judges, key = read_role(folder, project.schema, "judge"), project.schema.key
    newest = resources.batches.snapshot(snapshot.project)
    if newest.hash == snapshot.hash:
        return
    try:
        rows = gather(resources.batches, newest, project.schema, folder / ".newest")
    except WrittenBefore:  # a newer batch has nothing in a column that this version can't be without
        return
    theirs = gather(resources.batches, snapshot, project.schema, folder / ".snapshot")
    trained = stored_role(folder, project.schema, "train").column(key)
    came = came_since(project, rows.known, judges, theirs.known[key]) & ~among(rows.known[key], trained)
    if rows.lacking(np.flatnonzero(came)) - theirs.lacking(np.arange(len(theirs))):  # what it learned with is not there
        return
    later = rows.take(came)
    kept = take(judges, ~among(judges[key], later[key]))
    write_role(folder, project.schema, "judge", [kept, later], length(kept) + length(later))


def came_since(project: Project, rows: Rows, judges: Rows, before: np.ndarray) -> np.ndarray:
    """Tell which rows may judge a version that was judged by `judges`, as a mask: no more than judge any version.

    `before`: the keys of all rows of the snapshot that it was made from.
    """
    if project.evaluation.exchangeable:
        return np.asarray(roles(project, rows) == "judge")
    if project.schema.time and not project.schema.ranking:
        later = rows[project.schema.time] >= judges[project.schema.time].min()
    else:
        later = ~among(rows[project.schema.key], before)
    return np.asarray(spared(project, rows, np.where(later, "judge", "")) == "judge")
