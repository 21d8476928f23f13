"""Two versions side by side: numbers, gates, parameters, data, sources and packages."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data.errors import Corrupt
from data.versions import SnapshotFile
from models.card_value import Card
from models.card_words import bounded, ordered, unnamed
from models.folder import file_sha256
from tasks import history, provenance
from tasks.provenance import CODE, LOCK
from tasks.registration import snapshot_of
from tasks.resources import Resources

MOST = 20  # changed sources that are named
DATA = ("rows.", "snapshot")  # facts of the data, which is compared batch by batch


def compare(resources: Resources, name: str, one: str, two: str) -> dict[str, Any]:
    """Return how version `two` differs from version `one`.

    Raises: NoSuchProject; NoSuchVersion; Corrupt; ServerUnavailable.
    """
    a, b = history.card(resources, name, one), history.card(resources, name, two)
    roles = {role: same(a, b, role) for role in ("judge", "anchor")}
    return {
        "project": name,
        "versions": [one, two],
        "same_rows": roles,
        "sentence": compared_on(a, b, roles),
        "metrics": metrics(a, b),
        "gates": gates(a, b),
        "parameters": different(a["training"].get("parameters", {}), b["training"].get("parameters", {})),
        "data": batches(resources, a, b),
        "sources": sources(resources, a, b),
        "facts": different(machine(a), machine(b)),
        "warnings": [f"version {card['version']}: {said}" for card in (a, b) for said in card["warnings"]],
    }


def same(a: Card, b: Card, role: str) -> bool | None:
    """Tell whether both were scored on the same rows of a role; None where that was not recorded."""
    known = [card["facts"].get(f"rows.{role}") for card in (a, b)]
    if any(one is None for one in known):
        return True if a["data"].get("snapshot") == b["data"].get("snapshot") is not None else None
    return bool(known[0] == known[1])


def compared_on(a: Card, b: Card, roles: Mapping[str, bool | None]) -> str:
    """Say whether the numbers side by side may be compared, and what compared the two directly."""
    names = f"versions {a['version']} and {b['version']}"
    if roles["judge"]:
        said = f"{names} were scored on the same {b['quality'].get('rows', {}).get('judge', 0):,} judge rows"
    elif roles["judge"] is None:
        said = f"whether {names} were scored on the same rows was not recorded"
    else:
        said = f"{names} were not scored on the same judge rows: their numbers can't be set against each other"
    said += "; the anchor rows are the same" if roles["anchor"] else ""
    for card, other in ((b, a), (a, b)):
        verdict = card["verdict"] or {}
        found = [gate for gate in verdict.get("gates", []) if gate["gate"] == "better"]
        if verdict.get("against") == other["version"] and found:
            direct = f"version {card['version']} was held against version {other['version']} on the same fresh rows"
            return f"{said}. {direct}: {unnamed(found[0])}"
    return said


def metrics(a: Card, b: Card) -> list[dict[str, Any]]:
    """Return every metric of both, with bounds, on judge and on anchor rows."""
    lines = []
    for role in ("judge", "anchor"):
        pair = [card["quality"].get(role, {}) for card in (a, b)]
        names = dict.fromkeys([*ordered(b["quality"]), *ordered(a["quality"])])
        lines += [
            {"metric": metric, "rows": role, **both(a, b, *(numbers.get(metric) for numbers in pair))}
            for metric in names
            if any(metric in numbers for numbers in pair)
        ]
    return lines


def gates(a: Card, b: Card) -> list[dict[str, Any]]:
    """Return the result and the sentence of every gate that either was held against."""
    pair = [{gate["gate"]: gate for gate in (card["verdict"] or {}).get("gates", [])} for card in (a, b)]
    told = [{name: f"{gate['result']}: {unnamed(gate)}" for name, gate in held.items()} for held in pair]
    return [
        {"gate": name, **both(a, b, *(held.get(name) for held in told))} for name in dict.fromkeys([*told[0], *told[1]])
    ]


def both(a: Card, b: Card, left: Any, right: Any) -> dict[str, Any]:
    """Return two values under the versions' numbers."""
    return {f"v{a['version']}": left, f"v{b['version']}": right}


def different(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what the two mappings say differently: key -> [left, right], None where it is not said."""
    keys = sorted(left.keys() | right.keys())
    return {key: [left.get(key), right.get(key)] for key in keys if left.get(key) != right.get(key)}


def machine(card: Card) -> dict[str, Any]:
    """Return the facts that say where and how a version was made; those of its data and files stand elsewhere."""
    elsewhere = ("project", "manifest", "weights", "code", "lock")
    facts: dict[str, Any] = card["facts"]
    return {name: said for name, said in facts.items() if name not in elsewhere and not name.startswith(DATA)}


def batches(resources: Resources, a: Card, b: Card) -> dict[str, Any]:
    """Return the batches that only one snapshot holds, and those that both hold with other contents."""
    pair = [{file.name: file for file in learned_from(resources, card)} for card in (a, b)]
    before, after = pair
    return {
        "same": a["data"].get("snapshot") == b["data"].get("snapshot"),
        "rows": [sum(file.rows for file in files.values()) for files in pair],
        "added": [{"batch": name, "rows": after[name].rows} for name in sorted(after.keys() - before.keys())],
        "removed": [{"batch": name, "rows": before[name].rows} for name in sorted(before.keys() - after.keys())],
        "changed": [
            {"batch": name, "rows": [before[name].rows, after[name].rows]}
            for name in sorted(before.keys() & after.keys())
            if before[name].sha256 != after[name].sha256
        ],
    }


def learned_from(resources: Resources, card: Card) -> tuple[SnapshotFile, ...]:
    """Return the batches of a version's snapshot."""
    return snapshot_of(resources, card["project"], card["version"], card["run"]).files


def sources(resources: Resources, a: Card, b: Card) -> dict[str, Any]:
    """Return the sources and the locked packages that differ; `why` is said where they can't be looked at."""
    if a["facts"].get("code") == b["facts"].get("code") is not None:
        return {"same": True, "added": [], "removed": [], "changed": [], "packages": {}, "why": None}
    nothing: dict[str, Any] = {"same": False, "added": [], "removed": [], "changed": [], "packages": {}}
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch) / side for side in ("a", "b")]
        try:
            for card, folder in zip((a, b), folders, strict=True):
                provenance.extract(resources.models.read_file(card["run"], CODE), folder)
        except (Corrupt, FileNotFoundError) as error:
            return {**nothing, "why": str(error)}
        before, after = (digests(folder) for folder in folders)
        locks = [pinned(folder / LOCK) for folder in folders]
    return {
        "same": False,
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
        "packages": different(*locks),
        "why": None,
    }


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, by its name there."""
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def pinned(lock: Path) -> dict[str, str]:
    """Return the packages of a lock with their versions."""
    lines = lock.read_text(errors="replace").splitlines() if lock.exists() else []
    pins = [line.split()[0].partition("==") for line in lines if "==" in line and not line.startswith((" ", "#", "-"))]
    return {name: version for name, _, version in pins}


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a comparison as the lines of one table, for people."""
    left, right = (f"v{version}" for version in found["versions"])

    def line(what: str, *pair: Any) -> dict[str, Any]:
        cells = [bounded(one) if isinstance(one, Mapping) else one for one in pair]
        return {"what": what, left: cells[0], right: cells[1]}

    lines = [line(f"{one['metric']} ({one['rows']} rows)", one[left], one[right]) for one in found["metrics"]]
    lines += [line(f"gate {one['gate']}", one[left], one[right]) for one in found["gates"]]
    lines += [line(name, *pair) for name, pair in found["parameters"].items()]
    lines.append(line("rows of the snapshot", *found["data"]["rows"]))
    lines += [line(f"batch {one['batch']}", None, one["rows"]) for one in found["data"]["added"]]
    lines += [line(f"batch {one['batch']}", one["rows"], None) for one in found["data"]["removed"]]
    lines += [line(f"batch {one['batch']} (other contents)", *one["rows"]) for one in found["data"]["changed"]]
    lines += [line(f"package {name}", *pair) for name, pair in found["sources"]["packages"].items()]
    lines += [line(name, *pair) for name, pair in found["facts"].items()]
    return lines


def changed_sources(found: Mapping[str, Any]) -> str:
    """Say which sources differ, in one line."""
    code = found["sources"]
    if code["same"]:
        return "the sources are the same"
    if code["why"]:
        return f"the sources differ, and can't be looked at: {code['why']}"
    named = [f"{name} ({how})" for how in ("changed", "added", "removed") for name in code[how] if name != LOCK]
    more = f" and {len(named) - MOST} more" if len(named) > MOST else ""
    return f"sources that differ: {', '.join(named[:MOST]) or 'none but the lock'}{more}"
