"""Keys that sign short-lived tokens: Ed25519, in one file that only its owner can read (a JWK set, RFC 7517), newest first.

The newest signs, all verify, so tokens made before a rotation stay good. Two keys are kept besides the one that signs:
only a third rotation within 15 minutes would end tokens. Processes share the file: each looks at its time of change before
it uses a key.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from appliance.core.errors import CorruptError, UnavailableError

KEPT: Final = 3
"""Keys in the file: the one that signs, and those before it."""
_FILE_MAX: Final = 64 * 1024


class SigningKeys:
    """The key file of one installation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, ...], list[OKPKey]] | None = None

    def __repr__(self) -> str:
        return f"<SigningKeys {self.path}>"

    def newest(self) -> OKPKey:
        """The key that signs; made at first use. Two processes that do so at once get the same one."""
        return self._keys(make=True)[0]

    def all(self) -> KeySet:
        """The keys that verify; none before the first was made."""
        return KeySet(list(self._keys(make=False)))

    def rotate(self) -> str:
        """A new key, which signs from now on: its id. Those before still verify."""
        self.newest()  # the directory is there, then
        with self._lock, _alone(self.path.parent):
            keys = [_new_key(), *_read(self.path)][:KEPT]
            _write(self.path, keys, replace=True)
            self._known = None
        return str(keys[0].kid)

    def _keys(self, *, make: bool) -> list[OKPKey]:
        with self._lock:
            if self._known is not None and self._known[0] == _stamp(self.path):
                return self._known[1]
            stamp = _stamp(self.path)
            keys = _read(self.path)
            if not keys and make:
                _write(self.path, [_new_key()], replace=False)
                stamp = _stamp(self.path)
                keys = _read(self.path)
            self._known = (stamp, keys) if keys else None
            return keys


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other process rotates meanwhile: its key would be lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _new_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8), "use": "sig"})


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _read(path: Path) -> list[OKPKey]:
    """Keys of the file, none if it isn't there. Raises CorruptError (``bad_key``, ``key_exposed``)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unavailable(f"the key file {path} can't be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise CorruptError(
                f"the key file {path} can be read by others (mode {mode:04o})",
                f"remove it: another is made, and tokens of the last 15 minutes end; see who could read it: ls -l {path}",
                error_id="key_exposed",
            )
        content = file.read(_FILE_MAX)
    try:
        found: list[dict[str, Any]] = json.loads(content)["keys"]
        keys = [OKPKey.import_key(each) for each in found]
        if not keys or any(not key.is_private or not key.kid for key in keys):
            raise _garbage(path)
    except (ValueError, KeyError, TypeError, AttributeError, JoseError):
        raise _garbage(path) from None
    return keys


def _garbage(path: Path) -> CorruptError:
    return CorruptError(
        f"the key file {path} is damaged",
        "remove it: another is made, and tokens of the last 15 minutes end",
        error_id="bad_key",
    )


def _write(path: Path, keys: list[OKPKey], *, replace: bool) -> None:
    """Whole or not at all; without ``replace``, a file that appeared meanwhile stays."""
    content = json.dumps({"keys": [key.as_dict(private=True) for key in keys]})
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            _place(draft, path, replace=replace)
        finally:
            draft.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _unavailable(f"the key file {path} can't be written: {error.strerror}") from None


def _place(draft: Path, path: Path, *, replace: bool) -> None:
    if replace:
        draft.replace(path)
        return
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, "check the directory, its owner and the disk", error_id="read_only")
