"""DVC in process: repositories, and single objects in its cache and its remote, each known by its own content.

Two internals of dvc-data are used here and nowhere else (`transfer` and `status`): a plain `push` answers 0 with
objects missing on the remote.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data.errors import Corrupt, NotReplicated

if TYPE_CHECKING:
    from dvc.repo import Repo

T = TypeVar("T")
PATIENCE = 60.0  # seconds to wait for another DVC in the same repository


@contextmanager
def opened(root: Path, remote: str | None = None) -> "Iterator[Repo]":
    """Open a DVC repository for one call; a shared one gives wrong answers to threads."""
    from dvc.repo import Repo
    from dvc.ui import ui

    ui.enabled = False
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings: dict[str, Any] = {"core": {"site_cache_dir": str(root / ".dvc" / "tmp" / "site")}}
    if remote:
        settings = {"core": {**settings["core"], "remote": "store"}, "remote": {"store": {"url": remote}}}
    with Repo(str(root), config=settings) as repo:
        yield repo


def patiently(act: Callable[[], T]) -> T:
    """Do `act`, again while another process holds DVC's lock."""
    from dvc.lock import LockError

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except Exception as error:
            if not caused_by(error, LockError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Tell whether an error or one it was raised from is of a kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def failures() -> tuple[type[BaseException], ...]:
    """Return what a remote that can't be used may raise."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException
    from dvc_objects.errors import ObjectDBError

    return (OSError, DvcException, ObjectDBError, BotoCoreError, ClientError)


def sound(store: Any, oid: str) -> bool:
    """Tell whether a cache or remote holds an object whose content is what its name says."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with store.fs.open(store.oid_to_path(oid), "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == oid.removesuffix(".dir")


def drop_if_broken(store: Any, oids: Iterable[str]) -> None:
    """Remove objects that a crash or a bad disk left with other content than their name says."""
    for oid in oids:
        if store.exists(oid) and not sound(store, oid):
            store.delete(oid)


def replicate(repo: "Repo", folder: str, fresh: Iterable[str]) -> None:
    """Bring a folder's listing and every file of it to the remote, and prove it.

    Args:
        repo: opened with its remote.
        folder: the folder's hash.
        fresh: objects that this landing made; each is read back from the remote.

    Raises: NotReplicated.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.status import status
    from dvc_data.hashfile.transfer import transfer

    cache, wanted, fresh = repo.cache.local, {HashInfo("md5", folder)}, set(fresh) | {folder}
    try:
        remote = repo.cloud.get_remote_odb()
        drop_if_broken(remote, fresh)
        transfer(cache, remote, wanted, shallow=False, cache_odb=cache)
        missing = sorted(str(gone.value) for gone in status(remote, wanted, shallow=False, cache_odb=cache).missing)
        missing += [oid for oid in sorted(fresh) if oid not in missing and not sound(remote, oid)]
    except failures() as error:
        raise NotReplicated(f"remote {remote_url(repo)} can't be used: {error}") from error
    if missing:
        raise NotReplicated(f"remote {remote_url(repo)} lacks {len(missing)} objects, first {missing[0]}")


def ensure_cached(repo: "Repo", oid: str, what: str) -> Path:
    """Return the cached object's path, fetched from the remote when the local copy is gone or broken.

    Raises: Corrupt, when no good copy is left.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import transfer

    cache = repo.cache.local
    if not sound(cache, oid):
        drop_if_broken(cache, [oid])
        try:
            transfer(repo.cloud.get_remote_odb(), cache, {HashInfo("md5", oid)})
        except failures() as error:
            raise Corrupt(what, oid, f"no local copy, and the remote: {error}") from error
        if not sound(cache, oid):
            drop_if_broken(cache, [oid])
            raise Corrupt(what, oid, "no good copy")
    return Path(cache.oid_to_path(oid))


def remote_url(repo: "Repo") -> str:
    """Where the remote is, without credentials (they never stand in the URL)."""
    return str(repo.config["remote"]["store"]["url"])
