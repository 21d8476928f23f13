"""An alert as people read it: what, how sure, so what, what was done, and where to look."""

from collections.abc import Mapping, Sequence

from monitoring.records import Check, Message

RATE = "came for"  # begins what is said of how many labels come
ABSENT = "is null in"  # begins what is said of a column that is measured less than before
NAMED = 3  # columns named in a sentence
PARTS = (("what", "What"), ("how_sure", "How sure"), ("so_what", "So what"), ("done", "Done"))


def subject(message: Message) -> str:
    """Return a message's first line."""
    payload = message.payload
    first = (str(payload.get("text", "")).strip() or message.id).splitlines()[0]
    return " ".join(f"[{payload.get('project', 'holdfast')}] {payload.get('kind', message.kind)}: {first}".split())


def body(message: Message) -> str:
    """Return a message's text, a paragraph for each of its parts, and its links."""
    payload = message.payload
    parts = [f"{title}: {' '.join(str(payload[key]).split())}" for key, title in PARTS if payload.get(key)]
    said = "\n".join(parts) if payload.get("what") else str(payload.get("text", ""))
    links = payload.get("links") or {}
    return "\n".join([said, "", *(f"{name}: {url}" for name, url in links.items())])


def of_rate(faults: Mapping[str, str]) -> bool:
    """Tell whether these faults are of how many labels come, and of nothing else."""
    return list(faults) == ["labels"] and faults["labels"].startswith(RATE)


def of_absence(faults: Mapping[str, str]) -> bool:
    """Tell whether these faults are of values that are missing, and of nothing else."""
    return bool(faults) and all(why.startswith(ABSENT) for why in faults.values())


def several(words: Sequence[str]) -> str:
    """List the first few words, and say how many more there are."""
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def remedy(check: Check, faults: Mapping[str, str], drifted: Sequence[str] = ()) -> tuple[str, str]:
    """Return what a fault asks people to do, and what it means.

    `faults`: what is wrong, as far as it is known; `drifted`: columns that changed beside it, which accepting takes in.
    """
    if not faults:
        return "mend the check", "answers on these rows can't be trusted"
    if check == "data" and of_absence(faults):
        also = f" and that {several(drifted)} drifted" if drifted else ""
        mend = f"mend the sensor, or accept that from now on so much is not measured{also} (holdfast accept)"
        return mend, "answers on these rows can't be trusted"
    if check == "data":
        return "mend the sensor", "answers on these rows can't be trusted"
    return "mend the labels, or the source of these rows", "nobody can say how good the answers are"
