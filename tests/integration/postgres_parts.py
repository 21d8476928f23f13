"""A real PostgreSQL server in a folder of its own: as durable as production's, and otherwise small."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
from prefect_stack import free_port, until

NOBODY = 65534  # initdb refuses to run as root
SMALL = {"shared_buffers": "16MB", "max_connections": "60", "max_wal_size": "64MB", "autovacuum": "off"}
DATABASES = count()


def binaries() -> Path | None:
    """Return the folder of initdb and postgres; Debian keeps it off the PATH."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    return next((one for one in (*folders, *homes) if (one / "initdb").exists() and (one / "postgres").exists()), None)


class Postgres:
    """A server that a test may stop, crash, freeze and start again on the same port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self.owner:
            os.chown(folder, NOBODY, NOBODY)
        words = ["--pgdata", self.data, "--auth=trust", "--username=holdfast", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(
            [programs / "initdb", *words, "--no-sync"], **self.owner, cwd=folder, capture_output=True, check=False
        )
        assert made.returncode == 0, made.stderr.decode()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        options = {**SMALL, "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *words],
                **self.owner,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self.answers, 30.0, pause=0.05)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            psycopg.connect(f"{self.url('postgres')}?connect_timeout=2").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End every connection and the server; SIGQUIT leaves it as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def freeze(self) -> None:
        """Let it accept connections, and answer nothing on any."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, what: signal.Signals) -> None:
        """Signal the server and each of its children, which are sessions of their own."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a child may end meanwhile
                os.kill(pid, what)

    def url(self, database: str) -> str:
        return f"postgresql://holdfast@127.0.0.1:{self.port}/{database}"

    def create(self, name: str) -> str:
        """Make a database of the caller's own; return its URL."""
        words = re.sub(r"\W", "_", name.lower())[:40]
        database = f"{words}_{next(DATABASES)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.url(database)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))  # not below pytest's own, which is closed to others
    try:
        server = Postgres(programs, folder)
        server.start()
        try:
            yield server
        finally:
            if server.process is not None:
                server.thaw()
                server.crash()  # the quickest way
    finally:
        shutil.rmtree(folder, ignore_errors=True)
