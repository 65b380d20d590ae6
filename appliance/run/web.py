"""How the web processes (console, hub) are confined when there is no systemd: their own user, and little to see.

Started by root they become a user of their own; started by a user they stay that user. Either way they see the program, the system's
libraries and of the state directory what they need: stores, the applier's socket, what is their own. The key file of the
secrets isn't among it: the applier seals for them, and hands each the secrets that it must know (:mod:`appliance.handed`).

They write the stores, and so does root, whom no mode keeps out: so the databases are theirs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.engine.plan import hub_secret
from appliance.engine.unix import connect
from appliance.handed import READERS
from appliance.paths import CHECKOUT, Paths

WEB_UID: Final = 45061
WEB_GID: Final = 45061
"""Also the group that may speak to the applier, where there is no group of the system's for it."""
SYSTEM: Final = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64")


def make_places(paths: Paths) -> None:
    """The web processes' directories, and the hub's password at the manager interface once there is an engine. Safe to repeat."""
    for place, mode in (
        (paths.store, 0o2770), (paths.console, 0o700), (paths.hub, 0o700), (paths.web, 0o700), (paths.gate, 0o750),
        (paths.door, 0o700), (paths.run, 0o755), (paths.live, 0o755), (paths.names.parent, 0o755),
    ):  # fmt: skip
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
    if paths.engine.ami_secret.exists():
        _write_new(paths.hub_ami_secret, hub_secret(paths.engine.ami_secret.read_text()))


def prepare(paths: Paths) -> None:
    """Directories and databases that the web processes share with root, or have for themselves. Safe to repeat.

    Empty files are databases to SQLite; its side files get the owner and the mode of the database, whoever makes them.
    """
    make_places(paths)
    for reader in READERS:
        paths.handed_to(reader).mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return
    for database in (paths.document_db, paths.history_db, paths.access_db):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
    os.chown(paths.store, 0, WEB_GID)
    for own in (paths.console, paths.hub, paths.web, paths.door):
        os.chown(own, WEB_UID, WEB_GID)
    os.chown(paths.gate, 0, WEB_GID)  # the gate reads; nobody of the web writes there
    for file in paths.gate.iterdir():
        os.chown(file, 0, WEB_GID)
        file.chmod(0o640)
    for place, mode in ((paths.store, 0o660), (paths.console, 0o600), (paths.hub, 0o600)):
        for file in place.iterdir():
            _give(file, mode)


def _give(file: Path, mode: int) -> None:
    """Make a file the web processes' own; a plain one only. They can write that directory: what stands there under a file's name
    may be a link to something of root's."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(descriptor, WEB_UID, WEB_GID)
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _write_new(file: Path, text: str) -> None:
    """Write a file in a directory of the web processes', following nothing that they may have put there."""
    fresh = file.with_name(f"{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w") as stream:
        stream.write(text)
    fresh.replace(file)


def confined(
    paths: Paths, argv: Sequence[str], *, writable: Sequence[Path] = (), readable: Sequence[Path] = ()
) -> list[str]:
    """The command line that runs ``argv`` confined. It ends when whoever started it does.

    :param writable: what it sees of the state directory and may write.
    :param readable: what it sees besides.
    """
    made = [
        "bwrap",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
    ]
    made += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    for name in dict.fromkeys((sys.base_prefix, sys.prefix, str(CHECKOUT), str(paths.state))):
        for parent in reversed(Path(name).parents[:-1]):  # bubblewrap would make them for root alone
            if str(parent) not in (*SYSTEM, "/tmp"):  # noqa: S108
                made += ["--perms", "0755", "--dir", str(parent)]
    for name in dict.fromkeys((*SYSTEM, sys.base_prefix, sys.prefix, str(CHECKOUT))):
        made += ["--ro-bind-try", name, name]
    made += ["--perms", "0755", "--tmpfs", str(paths.state)]
    for place in writable:
        made += ["--bind", str(place), str(place)]
    for place in readable:
        for above in reversed(place.relative_to(paths.state).parents[:-1]):
            made += ["--perms", "0755", "--dir", str(paths.state / above)]
        made += ["--ro-bind", str(place), str(place)]
    made += ["--setenv", "CENTRALINO_STATE", str(paths.state), "--setenv", "PYTHONDONTWRITEBYTECODE", "1"]
    made += ["--setenv", "HOME", "/tmp", "--chdir", str(CHECKOUT), "--cap-drop", "ALL"]  # noqa: S108
    if os.geteuid() == 0:
        made += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--"]
        made += ["setpriv", f"--reuid={WEB_UID}", f"--regid={WEB_GID}", "--clear-groups", "--no-new-privs"]
        made += ["--inh-caps=-all", "--bounding-set=-all"]
    return [*made, "--", *argv]


def group_environment() -> dict[str, str]:
    """What tells the applier which group may use its socket."""
    return {"CENTRALINO_GROUP": str(WEB_GID)} if os.geteuid() == 0 else {}


def listens(path: Path) -> bool:
    """Whether somebody accepts connections at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1.0)
        try:
            connect(trial, path)
        except OSError:
            return False
    return True


def listens_at(host: str, port: int) -> bool:
    """Whether somebody accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
