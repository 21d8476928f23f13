"""From one subject along the ids in the ledger: incident → intent → run → version → generation, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from monitoring.records import Decision

Node: TypeAlias = tuple[str, str, str]  # project, what, id
Links: TypeAlias = Mapping[Node, set[Node]]

FOLLOWED = ("incident", "intent", "run")


def links_of(intents: Iterable[Any], generations: Iterable[Any]) -> Links:
    """Return what is tied together outside the decisions: an intent's incident and run, a generation's version."""
    links: dict[Node, set[Node]] = {}

    def tie(project: str, first: tuple[str, object], second: tuple[str, object]) -> None:
        one, other = (project, first[0], str(first[1])), (project, second[0], str(second[1]))
        links.setdefault(one, set()).add(other)
        links.setdefault(other, set()).add(one)

    for intent in intents:
        if intent.incident_id is not None:
            tie(intent.project, ("intent", intent.id), ("incident", intent.incident_id))
        if intent.run is not None:
            tie(intent.project, ("intent", intent.id), ("run", intent.run))
    for entry in generations:
        tie(entry.project, ("generation", entry.number), ("version", entry.version))
    return links


def follow(subject: str, decisions: Sequence[Decision], links: Links) -> list[Decision]:
    """Return the decisions that hang together with `subject`, in their order."""
    what, _, number = subject.partition(" ")
    projects = {line.project for line in decisions} | {node[0] for node in links}
    named = {id(line): _names(line) for line in decisions}
    known: set[Node] = set()
    reached: set[Node] = {(project, what, number) for project in projects}
    chosen: set[int] = set()
    while reached:
        known |= reached
        found = {other for node in reached for other in links.get(node, ())}
        for line in decisions:
            if id(line) not in chosen and named[id(line)] & reached:
                chosen.add(id(line))
                found |= named[id(line)]
        reached = found - known
    return [line for line in decisions if id(line) in chosen]


def _names(line: Decision) -> set[Node]:
    """Return what a decision is about: its subject, and the ids in its inputs.

    A version in an incident's inputs is the one it happened to, not the one it led to: following it would join
    all incidents of a version.
    """
    what, _, number = line.subject.partition(" ")
    names = {(line.project, what, number)}
    keys = FOLLOWED if what == "incident" else (*FOLLOWED, "version")
    return names | {(line.project, key, str(line.inputs[key])) for key in keys if line.inputs.get(key) is not None}
