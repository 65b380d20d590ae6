"""Every certificate that was issued, and every one that was revoked: one small file each, named by its serial.

A name in a directory is there or it isn't, so nothing is ever half recorded: a certificate's file is on the disk before the
certificate is given to anybody, and the presence of a file in ``revoked/`` revokes, whatever became of its content. Damage is
local: a record that can't be read leaves all others, and can still be revoked by its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.errors import CentralinoError, CorruptError
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki.certificates import Reason, Role, fingerprint, hexadecimal, name_of
from appliance.vpn.pki.lifetimes import BACKDATED, SERVER, YEAR, due, urgent

KEPT: Final = YEAR
RELAY_KEY: Final = 32
"""How long the records of an expired certificate stay."""
SERIAL_DIGITS: Final = 32
_PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate that was issued.

    :param site: id of the branch's site; ``""`` for a server or a signer.
    :param generation: how many times the site had been enrolled with this one; renewals keep it.
    :param issuer: number of the intermediate that signed it.
    :param replaces: serial of the certificate that it renews.
    """

    role: Role
    site: str
    generation: int
    issuer: int
    replaces: str | None
    certificate: x509.Certificate = field(repr=False)

    @cached_property
    def serial(self) -> str:
        """32 hexadecimal digits."""
        return hexadecimal(self.certificate.serial_number)

    @cached_property
    def name(self) -> str:
        """Common name: what OpenVPN knows it by."""
        return name_of(self.certificate)

    @cached_property
    def key(self) -> str:
        """Fingerprint of its public key."""
        key = self.certificate.public_key()
        return fingerprint(key) if isinstance(key, ec.EllipticCurvePublicKey) else ""

    @property
    def begins(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    @property
    def due(self) -> datetime:
        """When it is to be renewed."""
        return due(self._given, self.ends)

    @property
    def urgent(self) -> datetime:
        """When somebody is told that it wasn't."""
        return urgent(self._given, self.ends)

    @property
    def _given(self) -> datetime:
        """When it was issued, about: what the centre shows begins long before that."""
        return self.begins if self.role is Role.BRANCH else max(self.begins, self.ends - SERVER - BACKDATED)


@dataclass(frozen=True, slots=True)
class Revoked:
    """When and why a certificate was revoked, and by which it was replaced (its serial), if by any."""

    serial: str
    when: datetime
    reason: Reason
    replaced_by: str | None = None


class Registry:
    """The records below the authority's directory. Only who holds the lock writes."""

    def __init__(self, directory: Path) -> None:
        self.issued_in, self.revoked_in = directory / "issued", directory / "revoked"
        self._relay_keys_in = directory / "relay"
        self._issued: dict[str, Issued] = {}
        self._revoked: dict[str, Revoked] = {}

    def issued(self) -> dict[str, Issued]:
        """By serial, oldest first. Records never change, so each is read once."""
        names = _names(self.issued_in)
        found = {}
        for serial in names:
            record = self._issued.get(serial) or _issued(self.issued_in / f"{serial}.json")
            if record is not None:
                found[serial] = record
        self._issued = found
        return dict(sorted(found.items(), key=lambda each: (each[1].begins, each[1].generation)))

    def damaged(self) -> list[str]:
        """Serials of records that can't be read."""
        return sorted(_names(self.issued_in) - self.issued().keys())

    def revoked(self) -> dict[str, Revoked]:
        """By serial. What can't be read revokes all the same, without a reason."""
        names = _names(self.revoked_in)
        self._revoked = {
            serial: self._revoked.get(serial) or _revoked(self.revoked_in / f"{serial}.json", serial)
            for serial in names
        }
        return dict(self._revoked)

    def add(self, record: Issued) -> None:
        """On the disk when this returns. :raises OSError: there is no such record."""
        plain = {
            "role": record.role, "site": record.site, "generation": record.generation, "issuer": record.issuer,
            "replaces": record.replaces,
            "certificate": record.certificate.public_bytes(_PEM).decode(),
        }  # fmt: skip
        files.put(self.issued_in / f"{record.serial}.json", json.dumps(plain, indent=1).encode())

    def revoke(self, record: Revoked) -> None:
        """On the disk when this returns; the first one stays. :raises OSError: it isn't revoked."""
        path = self.revoked_in / f"{record.serial}.json"
        if path.exists():
            return
        plain = {
            "when": int(record.when.timestamp()), "reason": record.reason, "replaced_by": record.replaced_by
        }  # fmt: skip
        files.put(path, json.dumps(plain, indent=1).encode())

    def put_relay_key(self, serial: str, key: bytes) -> None:
        """The key of a certificate's relay: the last one that was given with it. :raises OSError: the one before stays."""
        self._relay_keys_in.mkdir(mode=0o700, exist_ok=True)  # not there in an authority of a former release
        files.put(self._relay_keys_in / serial, key)

    def relay_key(self, serial: str) -> bytes | None:
        """None: there is none, or it is damaged or exposed: the branch comes in without its relay, or not at all, until it renews."""
        try:
            key = files.secret(self._relay_keys_in / serial, later("a key of a relay"))
        except CentralinoError:
            return None
        return key if key is not None and len(key) == RELAY_KEY else None

    def prune(self, now: datetime) -> None:
        """Forget what expired long ago: first that it was revoked, so that a kill in between leaves nothing dangling."""
        for serial, record in self.issued().items():
            if record.ends + KEPT < now:
                with suppress(OSError):
                    (self._relay_keys_in / serial).unlink(missing_ok=True)
                    (self.revoked_in / f"{serial}.json").unlink(missing_ok=True)
                    (self.issued_in / f"{serial}.json").unlink(missing_ok=True)
        for directory in (self.issued_in, self.revoked_in):
            files.remove_drafts(directory)


def living(issued: Iterable[Issued], revoked: Iterable[str], now: datetime) -> list[Issued]:
    """Those that haven't been revoked and haven't expired, in the order given."""
    gone = set(revoked)
    return [each for each in issued if each.serial not in gone and now < each.ends]


def _names(directory: Path) -> set[str]:
    """Not ``glob``, which takes a directory that it can't read for an empty one: nothing would be revoked, then."""
    try:
        found = os.listdir(directory)  # noqa: PTH208 (a quarter of the time, for thousands)
    except OSError as error:
        raise CorruptError(
            f"the records of the voice VPN's certificates can't be read: {error.strerror}",
            f"check {directory}, its owner and mode; if it is lost, restore a backup",
            error_id="registry_lost",
        ) from None
    return {name.removesuffix(".json") for name in found if len(name) == SERIAL_DIGITS + 5 and name.endswith(".json")}


def _issued(path: Path) -> Issued | None:
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
        certificate = x509.load_pem_x509_certificate(plain["certificate"].encode())
        replaces = plain["replaces"]
        record = Issued(
            Role(plain["role"]), str(plain["site"]), int(plain["generation"]), int(plain["issuer"]),
            None if replaces is None else str(replaces), certificate,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return record if record.serial == path.stem else None


def _revoked(path: Path, serial: str) -> Revoked:
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
        other = plain["replaced_by"]
        when = datetime.fromtimestamp(int(plain["when"]), UTC)
        return Revoked(serial, when, Reason(plain["reason"]), None if other is None else str(other))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Revoked(serial, _changed(path), Reason.UNSPECIFIED)


def _changed(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)
