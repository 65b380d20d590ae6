"""Files of the voice VPN, at the centre and at edges: written whole or not at all, secrets read only if nobody else could."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.applier import files
from appliance.core.errors import CentralinoError, CorruptError, UnavailableError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_FILE_MAX: Final = 4 * 1024 * 1024


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Errors of the file system as ours. ``what``: what was being written."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) from error


def storage_error(error: OSError, what: str) -> CentralinoError:
    """An error of the file system in our own terms: ``disk_full`` or ``storage``."""
    if error.errno in _FULL:
        return UnavailableError(
            f"no space left for {what}", "free space on the disk that holds the state directory, then try again",
            error_id="disk_full",
        )  # fmt: skip
    return UnavailableError(
        f"can't write {what}: {error.strerror}", "check the owner and mode of the state directory: centralino doctor",
        error_id="storage",
    )  # fmt: skip


@contextmanager
def locked(path: Path, what: str, mode: int) -> Iterator[None]:
    """Nobody else, in this process or another, is within meanwhile. ``what``: the lock, in words; ``mode``: of a directory that is made."""
    with explained(what):
        path.parent.mkdir(mode=mode, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    """In the place of a file, atomically and on the disk when this returns; a draft that didn't fit is removed.

    :raises OSError: the old content, or none, stands.
    """
    try:
        files.replace(path, content, mode)
    except OSError:
        with suppress(OSError):
            path.with_name(path.name + ".new").unlink(missing_ok=True)
        raise


def secret(path: Path, what: str) -> bytes | None:
    """A file that only its owner may read; None: it isn't there.

    :raises CorruptError: ``key_exposed``: others can read it; :raises UnavailableError: we can't.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(
            f"{what} can't be read: {error.strerror}", "run this as the user who owns it", error_id="read_only"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise CorruptError(
                f"{what} can be read by others (mode {mode:04o})",
                f"chmod 600 {path}; if strangers could have read it, make the voice VPN's certificates anew",
                error_id="key_exposed",
            )
        return file.read(_FILE_MAX)


def content(path: Path) -> bytes | None:
    """A file's content; None: it isn't there or can't be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def remove_drafts(directory: Path) -> None:
    """What writers that died left behind. Only for who holds the lock."""
    for draft in directory.glob("*.new"):
        with suppress(OSError):
            draft.unlink()
