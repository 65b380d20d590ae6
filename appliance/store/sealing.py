"""Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a key file that only its owner can read.

Sealed text is ``sealed:v1:`` and base64url of nonce (96 bits, random) and ciphertext with tag. The secret's id is bound
to it as associated data, so that values can't be swapped between secrets. The key file holds one key per line, newest
first: the first seals, all open, so that revisions from before a rotation stay readable.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.core.document import Document
from appliance.core.errors import CorruptError, NotFoundError, RefusedError, UnavailableError
from appliance.i18n import later
from appliance.organisation.model import Secret

PREFIX: Final = "sealed:v1:"
_LINE: Final = "centralino-key:v1:"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_FILE_MAX: Final = 64 * 1024

LOST: Final = later(
    "restore it from a backup; without it, make another (centralino key new) and set every secret again"
)
"""What to do about a key file that is of no use any more."""


class Sealer:
    """One key in memory. Never shown: not by repr, not by any error."""

    __slots__ = ("_aead", "fingerprint")

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self.fingerprint: Final = hashlib.sha256(b"centralino key fingerprint:" + key).hexdigest()[:16]
        """Tells keys apart without telling the key."""

    def __repr__(self) -> str:
        return f"<Sealer {self.fingerprint}>"

    def seal(self, id: str, clear: str) -> str:
        """Sealed text, different each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._aead.encrypt(nonce, clear.encode(), id.encode())
        return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, id: str, sealed: str) -> str | None:
        """The clear text, or None if it isn't ours: another key, another secret's value, or damaged."""
        if not sealed.startswith(PREFIX):
            return None
        try:
            text = sealed[len(PREFIX) :]
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if len(raw) < _NONCE_BYTES + _TAG_BYTES:
                return None
            return self._aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], id.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            return None


class Keyring:
    """The keys of one installation, newest first."""

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        self.path = path
        self._keys = tuple(keys)
        self._sealers = tuple(Sealer(key) for key in keys)

    def __repr__(self) -> str:
        return f"<Keyring {self.path}, {len(self._sealers)} keys>"

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read a key file. Raises NotFoundError; CorruptError (``bad_key``) if it is garbage, ``key_exposed`` if others may read it."""
        return cls(path, _read(path))

    @classmethod
    def load_or_create(cls, path: Path) -> Keyring:
        """Read a key file, or make one with a new key. Two processes that do so at once get the same key."""
        try:
            return cls.load(path)
        except NotFoundError:
            _write(path, [secrets.token_bytes(_KEY_BYTES)], replace=False)
            return cls.load(path)

    @classmethod
    def renew(cls, path: Path) -> Keyring:
        """A new key in the place of one that is lost or damaged; a damaged file is put aside as ``….bad``.

        Raises RefusedError if the key is in order, CorruptError (``key_exposed``) if only its mode is wrong.
        """
        try:
            cls.load(path)
        except NotFoundError:
            pass
        except CorruptError as error:
            if error.error_id == "key_exposed":
                raise
            _set_aside(path)
        else:
            raise RefusedError(f"there is a key in {path}", "centralino key rotate adds another", error_id="exists")
        return cls.load_or_create(path)

    @property
    def fingerprint(self) -> str:
        """Of the key that seals now."""
        return self._sealers[0].fingerprint

    def knows(self, fingerprint: str) -> bool:
        """Whether one of the keys has this fingerprint."""
        return any(sealer.fingerprint == fingerprint for sealer in self._sealers)

    def seal(self, id: str, clear: str) -> str:
        """Seal a secret's value for the secret with this id."""
        return self._sealers[0].seal(id, clear)

    def open(self, id: str, sealed: str) -> str:
        """The clear text. Raises CorruptError (``bad_key``) naming the secret."""
        for sealer in self._sealers:
            clear = sealer.open(id, sealed)
            if clear is not None:
                return clear
        raise CorruptError(
            f"secret/{id} can't be opened with the key in {self.path}",
            "restore the key file it was sealed under, or set the secret again",
            error_id="bad_key",
        )

    def reveal(self, document: Document) -> dict[str, str]:
        """Secret id → clear text, of all secrets that have a value. Raises CorruptError naming the first that can't be opened."""
        found = document.all(Secret).values()
        return {secret.id: self.open(secret.id, secret.value) for secret in found if secret.value is not None}

    def rotate(self) -> None:
        """Add a new key, which seals from now on. Call ``reseal`` and commit what it gives."""
        self._keys = (secrets.token_bytes(_KEY_BYTES), *self._keys)
        _write(self.path, self._keys, replace=True)
        self._sealers = tuple(Sealer(key) for key in self._keys)

    def reseal(self, document: Document) -> list[Secret]:
        """Secrets that are sealed under an older key, sealed under the newest."""
        newest = self._sealers[0]
        return [
            secret.model_copy(update={"value": self.seal(secret.id, self.open(secret.id, secret.value))})
            for secret in document.all(Secret).values()
            if secret.value is not None and newest.open(secret.id, secret.value) is None
        ]


def _read(path: Path) -> list[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFoundError(f"there is no key file {path}", "restore it from a backup") from None
    except OSError as error:
        raise UnavailableError(
            f"the key file {path} can't be read: {error.strerror}",
            "run this as the user who owns it",
            error_id="read_only",
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise CorruptError(
                f"the key file {path} can be read by others (mode {mode:04o})",
                f"chmod 600 {path}; if strangers could have read it, rotate the key and change the passwords",
                error_id="key_exposed",
            )
        content = file.read(_FILE_MAX)
    keys = []
    for line in content.decode("ascii", "replace").splitlines():
        match = re.fullmatch(re.escape(_LINE) + r"([A-Za-z0-9_-]{43})", line)
        if match is None:
            raise _garbage(path)
        keys.append(base64.urlsafe_b64decode(match[1] + "="))
    if not keys:
        raise _garbage(path)
    return keys


def _set_aside(path: Path) -> None:
    try:
        path.rename(path.with_name(f"{path.name}.bad"))
    except OSError as error:
        raise UnavailableError(
            f"the key file {path} can't be put aside: {error.strerror}",
            "check the directory and the disk",
            error_id="read_only",
        ) from None


def _garbage(path: Path) -> CorruptError:
    return CorruptError(f"the key file {path} is damaged", LOST, error_id="bad_key")


def _write(path: Path, keys: Sequence[bytes], *, replace: bool) -> None:
    """Whole or not at all; without ``replace``, a file that appeared meanwhile stays."""
    lines = [_LINE + base64.urlsafe_b64encode(key).rstrip(b"=").decode() + "\n" for key in keys]
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(descriptor)
            if replace:
                draft.replace(path)
            else:
                _link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UnavailableError(
            f"the key file {path} can't be written: {error.strerror}",
            "check the directory and the disk",
            error_id="read_only",
        ) from None


def _link(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
