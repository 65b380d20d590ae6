"""The authority's own directory: keys, certificates, registry.

::

    ca/
      root.crt root.crl     the root, and its list of revoked intermediates
      root.key              unless it was removed from the appliance
      root.exported         which root key somebody has shown to have a copy of
      intermediate/1.pem    key and certificate in one file, so that they always belong together; the newest signs
      issued/ revoked/      the registry
      relay/                by certificate: the key of its branch's relay
      tls-crypt-v2.key      the server's; branches' keys are wrapped under it
      clock.json            the last time seen
      reserve               room for a revocation on a full disk

The whole directory is made under another name and renamed when it is complete: half an authority is none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.clock import Clock
from appliance.core.errors import CorruptError, NotFoundError, RefusedError, UnavailableError
from appliance.i18n import later
from appliance.paths import VpnPaths
from appliance.vpn import files
from appliance.vpn.pki import certificates
from appliance.vpn.pki.certificates import Issuer, PrivateKey, fingerprint
from appliance.vpn.pki.lifetimes import BACKDATED, INTERMEDIATE, due, urgent
from appliance.vpn.pki.registry import Registry
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.timekeeping import Timekeeper
from appliance.vpn.pki.tls_crypt import is_server_key

RESERVE_BYTES: Final = 1024 * 1024
"""A list of 15,000 revoked certificates."""
DER: Final = Encoding.DER
_RESTORE: Final = "restore the voice VPN's directory from a backup"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Intermediate:
    """A certificate below the root, by the number that it has in the registry."""

    number: int
    issuer: Issuer

    @property
    def begins(self) -> datetime:
        return self.issuer.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.issuer.certificate.not_valid_after_utc

    @property
    def due(self) -> datetime:
        """When it is to be renewed: it begins with the root, whenever it was made."""
        return due(self.ends - INTERMEDIATE - BACKDATED, self.ends)

    @property
    def urgent(self) -> datetime:
        """When somebody is told that it wasn't."""
        return urgent(self.ends - INTERMEDIATE - BACKDATED, self.ends)


class Vault:
    """Reads and writes the directory. Who writes holds :meth:`lock`."""

    def __init__(self, paths: VpnPaths, clock: Clock) -> None:
        self.paths = paths
        self._clock = clock
        self.registry = Registry(paths.ca)
        self._read: dict[tuple[str, bytes], Intermediate] = {}

    @property
    def root_key_file(self) -> Path:
        return self.paths.ca / "root.key"

    @property
    def root_list_file(self) -> Path:
        return self.paths.ca / "root.crl"

    @property
    def exported_file(self) -> Path:
        return self.paths.ca / "root.exported"

    @property
    def reserve(self) -> Path:
        return self.paths.ca / "reserve"

    @property
    def exists(self) -> bool:
        return self.paths.ca.is_dir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else, in this process or another, changes anything meanwhile."""
        with files.locked(self.paths.lock, later("the voice VPN's lock"), 0o711):
            yield

    @property
    def keeper(self) -> Timekeeper:
        """The clock, with what is known of time."""
        made = None
        if self.exists:
            made = self.root().not_valid_before_utc + BACKDATED
        return Timekeeper(self.paths.ca / "clock.json", self._clock, made)

    def wall(self) -> int:
        """What the clock says, in ms since 1970."""
        return self._clock().wall

    def required(self) -> None:
        """:raises NotFoundError: ``no_authority``."""
        if not self.exists:
            raise NotFoundError(
                "the voice VPN has no certificate authority yet",
                "make one, or restore a backup",
                error_id="no_authority",
            )

    def root(self) -> x509.Certificate:
        """:raises CorruptError: ``authority_damaged``."""
        self.required()
        found = certificate(files.content(self.paths.ca / "root.crt") or b"")
        if found is None:
            raise damaged(later("the root's certificate"))
        return found

    def root_key(self) -> PrivateKey | None:
        """None: it was removed. :raises CorruptError: ``authority_damaged`` or ``key_exposed``."""
        found = files.secret(self.root_key_file, later("the root's key"))
        if found is None:
            return None
        key = load_private(found)
        if key is None or not fits(key, self.root()):
            raise damaged(later("the root's key"))
        return key

    def root_list(self) -> x509.CertificateRevocationList | None:
        """Of the revoked intermediates; where it is damaged, the copy that OpenVPN has."""
        root = self.root()
        for path in (self.root_list_file, self.paths.crl):
            for found in lists(files.content(path) or b""):
                if found.issuer == root.subject and signed_by(found, root):
                    return found
        return None

    def intermediates(self) -> dict[int, Intermediate]:
        """By number, oldest first. :raises CorruptError: ``authority_damaged`` or ``key_exposed``."""
        found = {}
        for path in (self.paths.ca / "intermediate").glob("*.pem"):
            what = f"the key of intermediate {path.stem}"
            content = files.secret(path, what) or b""
            one = self._read.get((path.stem, content)) or _intermediate(path.stem, content)
            self._read[path.stem, content] = found[one.number] = one
        if not found or found.keys() != set(
            range(1, max(found) + 1)
        ):  # without its list, what it revoked would be let in
            raise damaged(later("an intermediate"))
        return dict(sorted(found.items()))

    def revoked_intermediates(self) -> set[int]:
        """Numbers of those that the root has revoked."""
        found = self.root_list()
        serials = {each.serial_number for each in found} if found is not None else set()
        return {
            number for number, each in self.intermediates().items() if each.issuer.certificate.serial_number in serials
        }

    def signing(self, now: datetime) -> Intermediate:
        """The newest intermediate that is good now. :raises RefusedError: ``authority_expired``."""
        revoked = self.revoked_intermediates()
        for number, found in reversed(self.intermediates().items()):
            if number not in revoked and found.begins <= now < found.ends:
                return found
        raise RefusedError(
            "the voice VPN's intermediate has expired or was revoked: nothing can be issued",
            "bring the exported copy of the root's key: centralino vpn root renew FILE", error_id="authority_expired",
        )  # fmt: skip

    def tls_crypt(self) -> bytes:
        """The server's key. :raises CorruptError: ``authority_damaged`` or ``key_exposed``."""
        found = files.secret(self.paths.ca / "tls-crypt-v2.key", later("the tls-crypt-v2 key"))
        if found is None or not is_server_key(found):
            raise damaged(later("the tls-crypt-v2 key"))
        return found

    def put_intermediate(self, number: int, issuer: Issuer, within: Path | None = None) -> None:
        """On the disk when this returns. ``within``: an authority that is being made."""
        content = certificates.key_pem(issuer.key) + certificates.pem(issuer.certificate)
        files.put((within or self.paths.ca) / "intermediate" / f"{number}.pem", content)

    def exported(self) -> bool:
        """Whether somebody has shown to have a copy of this root's key."""
        try:
            known = json.loads(self.exported_file.read_bytes())["key"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
        return bool(known == fingerprint(certificates.public_key(self.root())))

    def with_reserve(self, what: str, action: Callable[[], None]) -> None:
        """Do what must be done at once: on a full disk, in the room that was kept for it."""
        try:
            with files.explained(what):
                action()
        except UnavailableError as error:
            if error.error_id != "disk_full" or not self.reserve.exists():
                raise
            with files.explained(what):
                self.reserve.unlink(missing_ok=True)
                action()

    def keep_reserve(self) -> bool:
        """Whether the reserve is there; makes it if there is room."""
        try:
            if not self.reserve.exists():
                files.put(self.reserve, os.urandom(RESERVE_BYTES))  # not zeros: file systems save on those
        except OSError:
            return False
        return True


def _intermediate(name: str, content: bytes) -> Intermediate:
    key, shown = load_private(content), certificate(content)
    if not name.isdigit() or key is None or shown is None or not fits(key, shown):
        what = f"the key of intermediate {name}"
        raise damaged(what)
    return Intermediate(int(name), Issuer(shown, key))


def damaged(what: str) -> CorruptError:
    """Something of the authority's own can't be read back."""
    return CorruptError(f"{what} is missing or damaged", _RESTORE, error_id="authority_damaged")


def fits(key: PrivateKey, shown: x509.Certificate) -> bool:
    """Whether a key is the one of a certificate."""
    return fingerprint(key.public_key()) == fingerprint(certificates.public_key(shown))


def certificate(content: bytes) -> x509.Certificate | None:
    """The first certificate of a PEM file, if there is one that can be read and has an elliptic key."""
    found = _CERTIFICATE.search(content)
    return _certificate(found[0]) if found else None


@lru_cache(maxsize=16)
def _certificate(pem: bytes) -> x509.Certificate | None:
    try:
        shown = x509.load_pem_x509_certificate(pem + b"\n")
        certificates.public_key(shown)
    except ValueError:
        return None
    return shown


def lists(content: bytes) -> list[x509.CertificateRevocationList]:
    """The lists of revoked certificates in a PEM file, as far as they can be read."""
    return [found for found in map(_list, _LIST.findall(content)) if found is not None]


@lru_cache(maxsize=16)
def _list(pem: bytes) -> x509.CertificateRevocationList | None:
    try:
        found = x509.load_pem_x509_crl(pem + b"\n")
        certificates.list_number(found)
    except ValueError:
        return None
    return found


def signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether a list is this issuer's own."""
    return _signed(found.public_bytes(DER), issuer.public_bytes(DER))


@lru_cache(maxsize=16)
def _signed(found: bytes, issuer: bytes) -> bool:
    try:
        key = certificates.public_key(x509.load_der_x509_certificate(issuer))
        return x509.load_der_x509_crl(found).is_signature_valid(key)
    except (ValueError, TypeError):
        return False
