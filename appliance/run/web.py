"""How the web processes (console, hub) are confined when there is no systemd: their own user, and little to see.

Started by root they become a user of their own; started by a user they stay that user. Either way they see the program, the system's
libraries and of the state directory what they need: stores, the applier's socket, what is their own. The key file of the
secrets isn't among it: the applier seals for them.

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

from appliance.paths import CHECKOUT, Paths

WEB_UID: Final = 45061
WEB_GID: Final = 45061
"""Also the group that may speak to the applier, where there is no group of the system's for it."""
SYSTEM: Final = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64")


def prepare(paths: Paths) -> None:
    """Directories and databases that the web processes share with root, or have for themselves. Safe to repeat.

    Empty files are databases to SQLite; its side files get the owner and the mode of the database, whoever makes them.
    """
    for place, mode in ((paths.store, 0o2770), (paths.console, 0o700), (paths.run, 0o755)):
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
    if os.geteuid() != 0:
        return
    for database in (paths.document_db, paths.history_db, paths.access_db):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
    os.chown(paths.store, 0, WEB_GID)
    os.chown(paths.console, WEB_UID, WEB_GID)
    for place, mode in ((paths.store, 0o660), (paths.console, 0o600)):
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


def confined(paths: Paths, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` confined. It ends when whoever started it does."""
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
    for place in dict.fromkeys((sys.base_prefix, sys.prefix, str(CHECKOUT), str(paths.state))):
        for parent in reversed(Path(place).parents[:-1]):  # bubblewrap would make them for root alone
            if str(parent) not in (*SYSTEM, "/tmp"):  # noqa: S108
                made += ["--perms", "0755", "--dir", str(parent)]
    for place in dict.fromkeys((*SYSTEM, sys.base_prefix, sys.prefix, str(CHECKOUT))):
        made += ["--ro-bind-try", place, place]
    made += ["--perms", "0755", "--tmpfs", str(paths.state)]
    for writable in (paths.store, paths.console):
        made += ["--bind", str(writable), str(writable)]
    made += ["--ro-bind", str(paths.run), str(paths.run)]
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


def listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
