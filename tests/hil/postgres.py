"""A real PostgreSQL server for a test: its own cluster in a directory of its own, Unix socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = "/usr/lib/postgresql"
INSTALL = "apt-get install postgresql"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; ``database`` makes an empty database and gives its URL."""

    binaries: Path
    socket: Path
    user: str

    def database(self, name: str) -> str:
        """An empty database's URL."""
        subprocess.run(
            [self.binaries / "createdb", "-h", self.socket, "-U", self.user, name], check=True, capture_output=True
        )
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database that is there."""
        return f"postgresql://{self.user}@/{name}?host={self.socket}"


@contextmanager
def postgres(data: Path | None = None, settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """Start a server, stop it at the end. It refuses to run as root, so root hands it to an unprivileged user.

    ``data``: where its databases are kept for the next one (they are made there at first); without, they are gone at the end.
    ``settings``: as in ``max_wal_size=8GB``.
    """
    found = sorted(Path(SERVER).glob("*/bin/pg_ctl"))
    if not found:
        pytest.fail(f"no PostgreSQL server in {SERVER}: {INSTALL}")
    binaries = found[-1].parent
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    # Not under pytest's directory: that one may be closed to the unprivileged user, and socket paths must be short.
    top = Path(tempfile.mkdtemp(prefix="pg-"))
    kept, data = data is not None, data or top / "data"
    try:
        _give(top, user)
        if not (data / "PG_VERSION").exists():
            data.mkdir(parents=True, exist_ok=True)
            _give(data, user)
            _as(user, [binaries / "initdb", "-D", data, "-U", "centralino", "-A", "trust", "-E", "UTF8", "--no-sync"])
        options = ["listen_addresses=", f"unix_socket_directories={top}", "max_connections=50", *settings]
        words = " ".join(f"-c {option}" for option in options)
        control: list[str | Path] = [binaries / "pg_ctl", "-D", data, "-w"]
        _as(user, [*control, "-t", "60", "-l", top / "log", "-o", words, "start"])
        try:
            yield Postgres(binaries, top, "centralino")
        finally:
            _as(user, [*control, "-m", "fast" if kept else "immediate", "stop"])
    finally:
        shutil.rmtree(top)


def _give(directory: Path, user: str) -> None:
    directory.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(directory, user, pwd.getpwnam(user).pw_gid)


def _as(user: str, command: Sequence[str | Path]) -> None:
    prefix = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *command],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        cwd="/",
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
