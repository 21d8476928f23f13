import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import Corrupt
from tasks import provenance
from tasks.cleanroom import CleanRoom, NotRemade, scratch


def tar(*entries: tuple[str, bytes, bytes]) -> bytes:
    """An archive of (name, type, content or target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                entry.linkname = content.decode()
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FILE = tarfile.REGTYPE
GOOD = ("tasks/a.py", FILE, b"A = 1\n")


@pytest.mark.parametrize(
    "entry",
    [
        ("/tmp/tasks/a.py", FILE, b""),
        ("../tasks/a.py", FILE, b""),
        ("tasks/../../a.py", FILE, b""),
        ("tasks//a.py", FILE, b""),
        ("tasks/.hidden.py", FILE, b""),
        ("tasks\\a.py", FILE, b""),
        ("tasks/a.so", FILE, b""),
        ("sitecustomize.py", FILE, b""),
        ("torch/__init__.py", FILE, b""),
        ("holdfast/cli.py", FILE, b""),
        ("tasks/link.py", tarfile.SYMTYPE, b"/etc/passwd"),
        ("tasks/hard.py", tarfile.LNKTYPE, b"tasks/a.py"),
        ("tasks/pipe.py", tarfile.FIFOTYPE, b""),
        ("tasks/device.py", tarfile.CHRTYPE, b""),
        ("tasks/folder.py", tarfile.DIRTYPE, b""),
        ("tasks/a.py", FILE, b"A = 2\n"),  # a second time
        ("tasks/" + "a" * 300 + "/" * 3 + ".py", FILE, b""),
    ],
)
def test_an_archive_with_anything_but_plain_sources_is_refused(tmp_path: Path, entry: tuple[str, bytes, bytes]) -> None:
    provenance.extract(tar(GOOD), tmp_path / "good")
    assert (tmp_path / "good" / "tasks" / "a.py").read_bytes() == GOOD[2]
    with pytest.raises(Corrupt):
        provenance.extract(tar(GOOD, entry), tmp_path / "bad")
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside == {"good", "bad"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:700],
        lambda content: b"\x1f\x8b" + content,
        lambda content: b"",
        lambda content: content[:124] + b"\xff" * 12 + content[136:],
        lambda content: content + b"\0" * provenance.LARGEST,
    ],
    ids=["cut", "compressed", "empty", "a negative size", "too large"],
)
def test_a_broken_archive_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Corrupt):
        provenance.extract(spoil(tar(GOOD, ("tasks/b.py", FILE, b"x" * 2000))), tmp_path / "bad")


def test_an_archive_holds_our_sources_the_lock_and_the_modules_beside_a_project_that_it_imports(tmp_path: Path) -> None:
    for name, text in {
        "mine.py": "def late():\n    from .nets import wide\nfrom . import common\n",
        "common.py": "import json\nfrom .data.tables import NAMES\n",
        "data/__init__.py": "",
        "data/tables.py": "from ..levels import *\n",
        "levels.py": "from .mine import project\n",
        "nets/__init__.py": "",
        "nets/wide.py": "from ... import beyond\n",
        "other.py": "",
        "nets/unused.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    names = provenance.sources(tmp_path / "mine.py")
    mine = {name.removeprefix("project/") for name in names if name.startswith("project/")}
    expected = {"mine.py", "common.py", "data/__init__.py", "data/tables.py", "levels.py"}
    assert mine == expected | {"nets/__init__.py", "nets/wide.py"}
    assert {"tasks/pipeline.py", "models/training.py", "data/__init__.py", "requirements.lock"} <= names.keys()
    content = provenance.packed({name: path.read_bytes() for name, path in names.items()})
    provenance.extract(content, tmp_path / "again")
    assert all((tmp_path / "again" / name).read_bytes() == path.read_bytes() for name, path in names.items())


def test_sources_are_those_of_the_beginning_of_a_training(tmp_path: Path) -> None:
    project = tmp_path / "mine.py"
    project.write_text("A = 1\n")
    first = provenance.archive_code(tmp_path / "run" / "code.tar", project)
    project.write_text("A = 2\n")
    assert provenance.archive_code(tmp_path / "run" / "code.tar", project) == first
    assert provenance.archive_code(tmp_path / "next" / "code.tar", project) != first


def room_with(folder: Path, pipeline: str, **recorded: str) -> CleanRoom:
    """A room whose archived pipeline is a few lines."""
    provenance.extract(
        tar(("tasks/__init__.py", FILE, b""), ("tasks/pipeline.py", FILE, pipeline.encode())), folder / "code"
    )
    return CleanRoom(folder, "mine", {"threads": "1", **recorded})


SEEN = """
import json, os, sys
from pathlib import Path
import numpy
found = {}
for name in ("flows", "holdfast", "tasks.verifying", "models.machine"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        found[name] = str(error)
sys.stderr.write("train  50% epoch 1 of 2: loss 0.1\\r")
Path("seen.json").write_text(json.dumps({"missing": found, "variables": dict(os.environ), "words": sys.argv}))
"""


def test_archived_sources_see_nothing_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgresql://somebody:secret@host/db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("WEATHER_STATION", "north")  # what a project file may read
    told: list[tuple[float, str]] = []
    room = room_with(tmp_path, SEEN, tuning="MKL_CBWR=AVX2 LD_PRELOAD=/evil.so", threads="3")
    room.run(("train",), lambda share, what: told.append((share, what)))
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["missing"].keys() == {"flows", "holdfast", "tasks.verifying", "models.machine"}
    assert seen["missing"]["flows"] == "the archive has no module flows"
    variables = seen["variables"]
    unwanted = {"HOLDFAST_DATABASE_URL", "MLFLOW_TRACKING_URI", "PYTHONPATH", "OMP_NUM_THREADS", "LD_PRELOAD"}
    assert not unwanted & variables.keys()
    kept = [variables[name] for name in ("WEATHER_STATION", "MKL_CBWR", "HOLDFAST_THREADS")]
    assert kept == ["north", "AVX2", "3"]
    assert variables["HOLDFAST_HOME"] == str(tmp_path / "home")
    assert seen["words"][1:] == ["train", "mine"]
    assert told == [(0.5, "epoch 1 of 2: loss 0.1")]


def test_archived_sources_that_fail_are_told_of_in_their_own_last_line(tmp_path: Path) -> None:
    room = room_with(tmp_path, "import sys\nsys.stderr.write('loading\\n')\nsys.exit('no column named size')\n")
    with pytest.raises(NotRemade, match=r"mine can't be trained again here: no column named size$"):
        room.run(("train",), lambda _share, _what: None)


HELD = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/unit")
from test_provenance import room_with
from tasks.cleanroom import scratch
with scratch(Path(sys.argv[1])) as folder:
    room_with(folder, '''
import os, time
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
os.fork()
print("x", flush=True)
time.sleep(100)
''').run(("train",), lambda _share, _what: None)
"""


def test_a_killed_verification_takes_its_child_along_and_the_next_one_sweeps_up(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)], cwd=Path.cwd(), env=dict(os.environ, PYTHONPATH="")
    )
    deadline = time.monotonic() + 60
    while not (pids := [path for path in (tmp_path / "verify").glob("*/pid") if path.read_text()]):
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.05)
    group = int(pids[0].read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(group):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)
    assert pids[0].exists()
    with scratch(tmp_path) as mine, scratch(tmp_path) as other:  # two at once don't sweep each other
        assert {path for path in (tmp_path / "verify").iterdir() if path.is_dir()} == {mine, other}
    assert list((tmp_path / "verify").iterdir()) == []


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
