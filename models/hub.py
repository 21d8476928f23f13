"""Where a pretrained encoder is: a folder, or a name and a revision of a hub, fetched once and kept under the home."""

import os
import re
from pathlib import Path

from data.errors import BadDeclaration, SourceUnavailable

HUB = "https://huggingface.co"  # unless HF_ENDPOINT names another
NAMED = re.compile(r"(?P<name>(?:\w[\w.-]*/)?\w[\w.-]*)@(?P<revision>\w[\w.-]*)")
FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "model.safetensors", "config.json")
LAST = FILES[-1]  # with it a folder is complete
NEEDED = ("model.safetensors", "config.json")
SECONDS = 60.0  # to wait for a server's next bytes


def found(folder: str) -> Path:
    """Return the folder of an encoder; `NAME@REVISION` is fetched where it has not been before.

    Raises: BadDeclaration for neither a folder nor such a name; SourceUnavailable where it can't be fetched.
    """
    path, named = Path(folder).expanduser(), NAMED.fullmatch(folder)
    if path.is_dir():
        return path
    if named is None:
        raise BadDeclaration(f"no folder {path}; a pretrained encoder is a folder, or NAME@REVISION of the hub")
    home = Path(os.environ.get("HOLDFAST_HOME") or ".holdfast") / "pretrained"
    kept = home / folder.replace("/", "--")
    if (kept / LAST).is_file():
        return kept
    kept.mkdir(parents=True, exist_ok=True)
    origin = os.environ.get("HF_ENDPOINT") or HUB
    for name in FILES:
        fetch(f"{origin}/{named['name']}/resolve/{named['revision']}/{name}", kept / name, name in NEEDED)
    return kept


def fetch(url: str, path: Path, needed: bool) -> None:
    """Fetch a file, in parts, and put it in its place once it is whole; what is not needed may be missing there.

    Raises: SourceUnavailable.
    """
    import httpx

    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with httpx.stream("GET", url, timeout=SECONDS, follow_redirects=True) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND and not needed:
                return
            answer.raise_for_status()
            with beside.open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)
        beside.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise SourceUnavailable(f"{url} can't be fetched ({why}): name a folder that holds the encoder") from error
    finally:
        beside.unlink(missing_ok=True)
