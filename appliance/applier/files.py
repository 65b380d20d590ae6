"""Writing so that a crash leaves the old or the new content whole, never half."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from appliance.core.errors import CentralinoError, UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def fsync_directory(path: Path) -> None:
    """Names made, renamed or removed in a directory are on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    """A file that wasn't there, with its mode from the first moment on, and on the disk when this returns.

    :param group: its group, if not our own.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        if group is not None:
            os.fchown(handle, -1, group)
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)


def replace(path: Path, content: bytes, mode: int = 0o600, group: int | None = None) -> None:
    """Put ``content`` in the place of a file, atomically. ``group``: as for :func:`write_new`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    write_new(fresh, content, mode, group)
    fresh.rename(path)
    fsync_directory(path.parent)


def storage_error(error: OSError, what: str) -> CentralinoError:
    """An error of the file system in our own terms."""
    if error.errno in _FULL:
        return UnavailableError(
            f"no space left for {what}",
            "free space on the disk that holds the state directory, then commit again",
            error_id="disk_full",
        )
    return UnavailableError(
        f"can't write {what}: {error.strerror}",
        "check the owner and mode of the state directory: centralino doctor",
        error_id="storage",
    )
