"""Every error this system raises on purpose.

* HoldfastError
  + BadDeclaration     a project file says something that can't be meant
    - NoSuchProject    no project file has this name
    - BrokenProject    the project file fails to import
  + BadSetting         an environment variable or option has a value that can't be used
  + SchemaMismatch     a frame lacks columns its schema names
    + WrittenBefore    batches were accepted before the schema had a column
  + BadRow             a row handed to the service does not fit the schema
  + BatchRefused       a batch is unfit as a whole: empty, broken, or too many bad rows
  + NoBatch            a project has no accepted batch yet
  + NotQuarantined     a project has no quarantined rows of this batch
  + SourceUnavailable  a source can't be read from here
  + Corrupt            a file does not have the content that was recorded for it
  + NotReplicated      the remote does not hold everything it should
  + TooFewRows         a step needs more rows than it was given
  + OneClass           rows that should tell classes apart are all of one
  + OutOfMemory        the device has no room for this training
  + NoChampion         a project has no serving model yet
  + NoSuchVersion      the registry has no such version
  + NotPromotable      a version may not serve, with the gates it failed
    - StaleVerdict     a version was not judged against what serves now
  + LostRace           another promotion came first
  + NotAcceptable      an incident's change can't be taken into the reference
  + NothingNew         a training would learn from the very rows that the last one learned from
  + Withheld           the governor does not let a training begin
  + NoTrial            a version may not answer beside the champion, or none does
  + Answered           what people were asked has an answer already
  + Busy               another holder has the lease
  + StaleToken         the holder's fencing token is no longer the newest
  + ServerUnavailable  a server that this step needs does not answer
  + DeliveryFailed     a receiver did not take a message

Anything else that escapes is a bug and keeps its traceback.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches


class HoldfastError(Exception):
    """Base of all expected failures; the CLI prints it on one line and exits with status 1."""


def one_line(text: str) -> str:
    """Return a stranger's text as one line that any log and page can take, half characters and all."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in " ".join(text.split()))


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return a hint naming the known word nearest to `wrong`, else all of them."""
    known = sorted(known)
    close = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


class BadDeclaration(HoldfastError):
    """A project file says something that can't be meant."""


class NoSuchProject(BadDeclaration):
    """No project file has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no project named {name!r}; {nearest(name, known)}")


class BrokenProject(BadDeclaration):
    """The project file fails to import; only this project is disabled."""

    def __init__(self, name: str, where: str, why: str) -> None:
        self.name, self.where, self.why = name, where, why
        super().__init__(f"project {name!r} is disabled: {where}: {why}")


class BadSetting(HoldfastError):
    """An environment variable or option has a value that can't be used."""


class SchemaMismatch(HoldfastError):
    """A frame lacks columns its schema names."""

    def __init__(self, missing: Iterable[str], present: Iterable[str]) -> None:
        present = list(present)
        self.missing = sorted(missing)
        hints = "; ".join(f"{name!r} ({nearest(name, present)})" for name in self.missing)
        super().__init__(f"columns missing: {hints}")


class WrittenBefore(SchemaMismatch):
    """Batches were accepted before their schema had columns that a row can't be without; `way` says what to do."""

    def __init__(self, batches: Sequence[str], missing: Iterable[str], way: str) -> None:
        self.missing = sorted(missing)
        which = f"batch {batches[0]!r}" + (f" and {len(batches) - 1} more" if len(batches) > 1 else "")
        named = ", ".join(map(repr, self.missing))
        HoldfastError.__init__(self, f"{which} came before the schema had {named}: {way}")


class BadRow(HoldfastError):
    """A row handed to the service does not fit the schema; `where` is a path like rows[3].age."""

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(f"{where}: {why}")


class BatchRefused(HoldfastError):
    """A batch is unfit as a whole; its rows are in quarantine."""

    def __init__(self, project: str, batch: str, why: str) -> None:
        self.project, self.batch, self.why = project, batch, why
        super().__init__(f"batch {batch!r} of {project} refused: {why}")


class NoBatch(HoldfastError):
    """A project has no accepted batch yet."""

    def __init__(self, project: str) -> None:
        self.project = project
        super().__init__(f"no batch yet: run ingest/{project}")


class NotQuarantined(HoldfastError):
    """A project has no quarantined rows of this batch."""

    def __init__(self, project: str, batch: str, known: Iterable[str]) -> None:
        super().__init__(f"no quarantined rows of {batch!r} in {project}; {nearest(batch, known)}")


class SourceUnavailable(HoldfastError):
    """A source can't be read from here; the message says what to put where."""


class Corrupt(HoldfastError):
    """A file does not have the content that was recorded for it, so it is not used."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(one_line(f"{what} is corrupt: recorded {expected[:19]}, found {found[:19]}"))


class NotReplicated(HoldfastError):
    """The remote does not hold everything it should."""


class TooFewRows(HoldfastError):
    """A step needs more rows than it was given, else its answer would be noise."""

    def __init__(self, what: str, rows: int, minimum: int) -> None:
        self.rows, self.minimum = rows, minimum
        super().__init__(f"{what}: {rows} rows given, at least {minimum} needed")


class OneClass(HoldfastError):
    """Rows that should teach to tell classes apart are all of one."""

    def __init__(self, what: str, found: Iterable[object]) -> None:
        told = " and ".join(map(repr, found)) or "none"
        super().__init__(f"{what} know one class only, {told}: at least two are needed to tell them apart")


class OutOfMemory(HoldfastError):
    """The device has no room for this training."""


class NoChampion(HoldfastError):
    """A project has no serving model yet."""

    def __init__(self, project: str) -> None:
        super().__init__(f"{project} has no champion yet: run train/{project}")


class NoSuchVersion(HoldfastError):
    """The registry has no such version."""


class NotPromotable(HoldfastError):
    """A version may not serve; the message names the gates it `failed`."""

    def __init__(self, why: str, failed: Iterable[str] = ()) -> None:
        self.failed = tuple(failed)
        super().__init__(why)


class StaleVerdict(NotPromotable):
    """A version was never judged, or not against what serves now: it is judged anew before it may serve."""


class LostRace(HoldfastError):
    """Another promotion came first, so this one must be judged anew."""


class NotAcceptable(HoldfastError):
    """An incident's change can't be taken into the reference, now or ever; the message says why."""


class NothingNew(HoldfastError):
    """A training would learn from the very rows that the last one learned from."""


class Withheld(HoldfastError):
    """The governor does not let a training begin; the message is its reason."""


class NoTrial(HoldfastError):
    """A version may not answer beside the champion, or none does."""


class Answered(HoldfastError):
    """What people were asked has an answer already; the message says which."""


class Busy(HoldfastError):
    """Another holder has the lease."""

    def __init__(self, project: str, holder: str, until: datetime) -> None:
        self.holder, self.until = holder, until
        super().__init__(f"{project} is already training: {holder} holds the lease until {until:%H:%M:%S} UTC")


class StaleToken(HoldfastError):
    """The holder's fencing token is no longer the newest; nothing it made will be judged."""


class ServerUnavailable(HoldfastError):
    """A server that this step needs does not answer."""


class DeliveryFailed(HoldfastError):
    """A receiver did not take a message; it will be sent again."""

    def __init__(self, channel: str, why: str) -> None:
        self.channel = channel
        super().__init__(f"{channel}: {' '.join(why.split())[:300]}")
