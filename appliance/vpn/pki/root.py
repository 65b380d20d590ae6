"""The root's key: it signs intermediates and nothing else, and needn't be on the appliance.

It is exported under a passphrase; whoever shows that they can read their copy may remove the key here. It comes back for
the moment in which an intermediate is renewed or revoked, either into the directory (:meth:`Root.bring_back`) or into
memory alone (``copy`` and ``passphrase`` of the other methods).
"""

from __future__ import annotations

import json
import unicodedata
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.applier.files import fsync_directory
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates, lifetimes
from appliance.vpn.pki.certificates import Entry, Issuer, PrivateKey, Reason, fingerprint
from appliance.vpn.pki.registry import Revoked
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.served import publish
from appliance.vpn.pki.vault import Vault, fits

PASSPHRASE_MIN: Final = 16
"""Characters. The format's own slowing down of guesses is weak (PBKDF2, a few thousand rounds)."""


class Root:
    """What can be done with the root's key."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @property
    def here(self) -> bool:
        """Whether the key is on the appliance."""
        return self._vault.root_key_file.exists()

    @property
    def exported(self) -> bool:
        """Whether somebody has shown to have a copy of it."""
        return self._vault.exported()

    def export(self, passphrase: str) -> bytes:
        """The key under a passphrase (PKCS #8, PEM), and the root's certificate. Nothing is noted: see :meth:`verify_copy`.

        :raises InvalidError: ``weak_passphrase``; :raises RefusedError: ``no_root_key``.
        """
        if len(passphrase) < PASSPHRASE_MIN:
            hint = "take five words or more, chosen by dice or by a password manager"
            message = f"has {len(passphrase)} characters, and must have {PASSPHRASE_MIN} or more"
            raise InvalidError([Fault("passphrase", message, hint, "weak_passphrase")])
        with self._vault.lock():
            key = self._key(None, "")
            return certificates.key_pem(key, _bytes(passphrase)) + certificates.pem(self._vault.root())

    def verify_copy(self, copy: bytes, passphrase: str) -> None:
        """Somebody shows that they can read their copy, brought back from where they keep it: noted.

        :raises InvalidError: ``bad_copy``.
        """
        with self._vault.lock(), files.explained(later("the note about the root's copy")):
            key = self._opened(copy, passphrase)
            files.put(self._vault.exported_file, json.dumps({"key": fingerprint(key.public_key())}).encode())

    def remove(self) -> None:
        """Take the key off the appliance. Backups of the state directory from before still have it, and so may the medium.

        :raises RefusedError: ``not_exported``.
        """
        with self._vault.lock(), files.explained(later("the removal of the root's key")):
            self._vault.required()
            if not self.exported:
                raise RefusedError(
                    "nobody has shown to have a copy of the root's key", "centralino vpn root export FILE; keep the file elsewhere; then centralino vpn root verify FILE",
                    error_id="not_exported",
                )  # fmt: skip
            self._vault.root_key_file.unlink(missing_ok=True)
            fsync_directory(self._vault.paths.ca)

    def bring_back(self, copy: bytes, passphrase: str) -> None:
        """Put the key back. :raises InvalidError: ``bad_copy``."""
        with self._vault.lock(), files.explained(later("the root's key")):
            key = self._opened(copy, passphrase)
            files.put(self._vault.root_key_file, certificates.key_pem(key))

    def renew_intermediate(self, copy: bytes | None = None, passphrase: str = "") -> int:
        """A new intermediate, which signs from now on: its number. What those before signed stays good.

        :raises InvalidError: ``bad_copy``; :raises RefusedError: ``no_root_key``, ``clock_wrong``, ``authority_expired``.
        """
        with self._vault.lock(), files.explained(later("the intermediate")):
            number = renew_intermediate(self._vault, self._key(copy, passphrase))
            publish(self._vault, self._vault.keeper.shown())
            return number

    def revoke_intermediate(
        self, number: int, reason: Reason = Reason.CA_COMPROMISE, copy: bytes | None = None, passphrase: str = ""
    ) -> None:
        """Revoke an intermediate and with it every certificate that it signed; if it was the newest, there is a new one
        first. Branches that had theirs from it must be enrolled again. Harmless if it is revoked already.

        :raises NotFoundError: ``no_intermediate``; else as :meth:`renew_intermediate`.
        """
        with self._vault.lock(), files.explained(later("the revocation of the intermediate")):
            key, vault = self._key(copy, passphrase), self._vault
            known = vault.intermediates()
            if number not in known:
                raise NotFoundError(f"there is no intermediate {number}", f"there are 1 to {max(known)}", error_id="no_intermediate")  # fmt: skip
            if number == max(known):
                renew_intermediate(self._vault, key)
            now, former = vault.keeper.now(), vault.root_list()
            if number not in vault.revoked_intermediates():
                kept = [certificates.entry(each) for each in former or ()]
                entries = [*kept, Entry(known[number].issuer.certificate.serial_number, now, reason)]
                made = certificates.revocation_list(Issuer(vault.root(), key), entries, now, former)
                files.put(vault.root_list_file, certificates.pem(made))
            checkpoint("pki:intermediate-revoked")
            for serial, record in vault.registry.issued().items():
                if record.issuer == number:
                    vault.registry.revoke(Revoked(serial, now, Reason.CA_COMPROMISE))
            publish(vault, vault.keeper.shown())

    def _key(self, copy: bytes | None, passphrase: str) -> PrivateKey:
        self._vault.required()
        if copy is not None:
            return self._opened(copy, passphrase)
        key = self._vault.root_key()
        if key is None:
            raise RefusedError(
                "the root's key isn't on this appliance", "bring the exported copy: centralino vpn root renew FILE, or centralino vpn root restore FILE",
                error_id="no_root_key",
            )  # fmt: skip
        return key

    def _opened(self, copy: bytes, passphrase: str) -> PrivateKey:
        key = load_private(copy, _bytes(passphrase)) if passphrase else None
        if key is None:
            raise _bad_copy(
                "the copy of the root's key can't be opened", "is the passphrase right, and the file whole?"
            )
        if not fits(key, self._vault.root()):
            raise _bad_copy("this is the key of another root", "take the copy that was exported from this appliance")
        return key


def renew_intermediate(vault: Vault, key: PrivateKey) -> int:
    """With the lock held: the number of the new one."""
    now, root = vault.keeper.now(), vault.root()
    if now >= root.not_valid_after_utc:
        raise RefusedError(
            "the voice VPN's root has expired",
            "make a new authority and enrol every site again",
            error_id="authority_expired",
        )
    number, own = max(vault.intermediates()) + 1, certificates.new_key()
    ends = lifetimes.end(now, lifetimes.INTERMEDIATE, root.not_valid_after_utc)
    made = certificates.intermediate(Issuer(root, key), own.public_key(), number, root.not_valid_before_utc, ends)
    checkpoint("pki:intermediate-signed")
    vault.put_intermediate(number, Issuer(made, own))
    checkpoint("pki:intermediate-made")
    return number


def _bytes(passphrase: str) -> bytes:
    """The same on every keyboard: an accent may be typed as one character or as two."""
    return unicodedata.normalize("NFC", passphrase).encode()


def _bad_copy(message: str, hint: str) -> InvalidError:
    return InvalidError([Fault("copy", message, hint, "bad_copy")])
