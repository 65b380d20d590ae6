"""The certificate authority of the voice VPN: what others call.

Every method takes its turn (a lock that all processes share), refuses before it changes anything, and can be repeated: what
was cut short goes on where it stopped. Whatever changes who is let in is in force when the method returns, for the next
handshake; open connections are the caller's to end (they are returned).

:class:`UnavailableError` with ``disk_full`` or ``storage``: the state directory doesn't take it; call again. What was recorded
stays recorded: a certificate that was issued but not given out is given to the same key then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.clock import Clock, system_clock
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import later
from appliance.paths import VpnPaths
from appliance.vpn import files
from appliance.vpn.pki import certificates, tls_crypt
from appliance.vpn.pki.certificates import PublicKey, Reason, Role
from appliance.vpn.pki.issuing import issue, make
from appliance.vpn.pki.lifetimes import BACKDATED
from appliance.vpn.pki.registry import Issued, Revoked, living
from appliance.vpn.pki.requests import public_key
from appliance.vpn.pki.root import Root
from appliance.vpn.pki.served import publish
from appliance.vpn.pki.signing import Signer
from appliance.vpn.pki.tending import Tended, faults, served, signer, tend
from appliance.vpn.pki.vault import Vault

AGAIN: Final = timedelta(hours=1)
"""How long a renewal that nobody used yet stands before another may take its place."""
_SITE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Granted:
    """What a branch is given.

    :param chain: its certificate and the intermediate's, PEM: OpenVPN's ``cert``.
    :param root: OpenVPN's ``ca``.
    :param tls_crypt_key: OpenVPN's ``tls-crypt-v2``; secret. Another each time: those of before stay good.
    :param ended: certificates that were revoked for it; their connections are to be ended.
    """

    issued: Issued
    chain: bytes
    root: bytes
    tls_crypt_key: bytes
    ended: tuple[Issued, ...]

    def __repr__(self) -> str:
        return f"<Granted {self.issued.name}>"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a server of ours is: ``chain`` and ``root`` as in :class:`Granted`, ``key`` its private key in PEM; secret."""

    chain: bytes
    root: bytes
    key: bytes

    def __repr__(self) -> str:
        return "<Identity>"


class Authority:
    """The authority of one installation."""

    def __init__(self, paths: VpnPaths, clock: Clock = system_clock) -> None:
        self._vault = Vault(paths, clock)
        self.paths = paths
        self.root = Root(self._vault)
        """What can be done with the root's key."""

    @property
    def exists(self) -> bool:
        return self._vault.exists

    def create(self) -> None:
        """Make root, intermediate, server certificate and tls-crypt-v2 key.

        :raises RefusedError: ``exists``; ``clock_wrong``.
        """
        with self._vault.lock():
            if self.exists:
                raise RefusedError(
                    "the voice VPN has a certificate authority already", "another would shut every branch out",
                    error_id="exists",
                )  # fmt: skip
            with files.explained(later("the voice VPN's certificate authority")):
                make(self._vault)
        self.upkeep()

    def enrol(
        self, site: str, request: bytes, *, role: Role = Role.BRANCH, former_stay: bool = False
    ) -> Granted:  # fmt: skip
        """Certificate for a site's edge from its CSR (PEM). It takes the place of all that the site had: they are revoked.

        :param role: who made the router; one of :attr:`Role.of_site`.
        :param former_stay: they stay good until this one was used: call :meth:`confirm` then.
        :raises InvalidError: ``bad_csr``, ``bad_site``; :raises RefusedError: ``key_reused``, ``clock_wrong``, ``authority_expired``.
        """
        if not _SITE.fullmatch(site):
            hint = "a-z, 0-9 and inner hyphens, at most 40"
            raise InvalidError([Fault("site", f"{site!r} is no id of a site", hint, "bad_site")])
        key = public_key(request)
        with self._turn():
            found = self._of_key(key)
            if found is None:
                last = max((each.generation for each in self._issued_to(site)), default=0)
                found = issue(self._vault, key, role, site, last + 1, None)
            elif found.site != site or found.role is not role or not self._lives(found):
                raise _reused(found)
            former = [each for each in self._issued_to(site) if each.generation < found.generation]
            return self._grant(found, [] if former_stay else former)

    def renew(self, serial: str, request: bytes) -> Granted:
        """Certificate from a CSR with a new key for a branch that came in with the certificate ``serial``. That one stays good
        until the new one was used: call :meth:`confirm` then.

        :raises InvalidError: ``bad_csr``; :raises NotFoundError: ``no_certificate``;
        :raises RefusedError: ``not_due``, ``renewed_already``, ``certificate_over``, ``key_reused``, ``clock_wrong``, ``authority_expired``.
        """
        key = public_key(request)
        with self._turn():
            former = self._known(serial)
            now = self._vault.keeper.now()
            if former.role is not Role.BRANCH or not self._lives(former):
                raise RefusedError(
                    f"the certificate {former.name} is revoked, expired, or no branch's", "enrol the site again",
                    error_id="certificate_over",
                )  # fmt: skip
            found, unused = self._of_key(key), self._renewals(former)
            if found is not None and (found.replaces != serial or not self._lives(found)):
                raise _reused(found)
            if found is None:
                self._may_renew(former, unused, now)
                found = issue(self._vault, key, Role.BRANCH, former.site, former.generation, serial)
            return self._grant(found, [each for each in unused if each.serial != found.serial])

    def confirm(self, serial: str) -> tuple[Issued, ...]:
        """The branch came in with this certificate: those that it renewed, and all of former enrolments, are revoked; their
        connections are to be ended.

        :raises NotFoundError: ``no_certificate``.
        """
        with self._turn():
            used = self._known(serial)
            line, issued = {serial}, self._vault.registry.issued()
            for each in issued.values():  # oldest first: whatever renews it comes after it
                if each.replaces in line:
                    line.add(each.serial)
            revoked = self._vault.registry.revoked()
            others = [
                each for each in self._issued_to(used.site)
                if (each.generation == used.generation and each.serial not in line)
                or (each.generation < used.generation and (each.serial not in revoked or revoked[each.serial].replaced_by == serial))
            ]  # fmt: skip
            return self._revoke(others if used.site and self._lives(used) else [], Reason.SUPERSEDED, serial)

    def revoke(self, serial: str, reason: Reason = Reason.UNSPECIFIED) -> tuple[Issued, ...]:
        """Revoke a certificate, whatever the clock says; harmless if it is already. Its connection is to be ended.

        :raises NotFoundError: ``no_certificate``.
        """
        with self._turn():
            registry = self._vault.registry
            if serial in registry.damaged():  # nobody knows whose it is, but its name is enough
                self._record(serial, reason, None)
                self._publish()
                return ()
            return self._revoke([self._known(serial)], reason, None)

    def revoke_site(self, site: str, reason: Reason = Reason.UNSPECIFIED) -> tuple[Issued, ...]:
        """Revoke all that a site has. Harmless if it has nothing."""
        with self._turn():
            return self._revoke(self._issued_to(site), reason, None)

    def issued(self, site: str | None = None) -> list[Issued]:
        """All that was issued (to a site) and is still recorded, oldest first."""
        self._vault.required()
        found = self._vault.registry.issued().values()
        return [each for each in found if site is None or each.site == site]

    def revoked(self) -> dict[str, Revoked]:
        """By serial."""
        self._vault.required()
        return self._vault.registry.revoked()

    def living(self, site: str | None = None) -> list[Issued]:
        """Those of :meth:`issued` that are neither revoked nor expired."""
        return living(self.issued(site), self.revoked(), self._vault.keeper.best())

    def relay_keys(self) -> dict[bytes, str]:
        """Keys of relays, and whose they are: of every branch's certificates that live. A key dies with its certificate."""
        registry = self._vault.registry
        found = ((registry.relay_key(each.serial), each.site) for each in self.living() if each.role is Role.BRANCH)
        return {key: site for key, site in found if key is not None}

    def find(self, name: str) -> Issued | None:
        """The branch's certificate of a common name that OpenVPN tells, revoked or not."""
        return next((each for each in self.issued() if each.role.of_site and each.name == name), None)

    def gate(self) -> Identity:
        """An identity for the gate where new edges hand in their requests, for two weeks. The key isn't kept.

        :raises RefusedError: ``clock_wrong``, ``authority_expired``.
        """
        key = certificates.new_key()
        with self._turn():
            record = issue(self._vault, key.public_key(), Role.GATE, "", 0, None)
            issuer = self._vault.intermediates()[record.issuer].issuer.certificate
            chain = certificates.pem(record.certificate) + certificates.pem(issuer)
            return Identity(chain, certificates.pem(self._vault.root()), certificates.key_pem(key))

    def required_clock(self) -> None:
        """:raises RefusedError: ``clock_wrong``: nothing can be issued now."""
        with self._turn():
            self._vault.keeper.now()

    def root_key(self) -> str:
        """Fingerprint of the root's public key: SHA-256, hexadecimal. Whoever knows it needs nobody's word on who we are."""
        with self._turn():
            return certificates.fingerprint(certificates.public_key(self._vault.root()))

    def server(self) -> Issued | None:
        """The certificate that OpenVPN's server has from its next start on; None: there is none that is whole."""
        with self._turn():
            return served(self._vault)

    def signer(self) -> Signer:
        """What signs for branches to read. :raises UnavailableError: ``no_signer``: there is none that is whole, until the next upkeep."""
        with self._turn():
            return signer(self._vault)

    def time(self) -> int:
        """What time it is, in ms since 1970. :raises RefusedError: ``clock_wrong``: we can't tell."""
        with self._turn():
            self._vault.keeper.now()
            return self._vault.wall()

    def upkeep(self) -> Tended:
        """Renew what is due, finish what was cut short, remember the time. Call it at start and every few minutes; it
        raises nothing about what it finds: :attr:`Tended.faults` tells.

        :raises NotFoundError: ``no_authority``.
        """
        with self._vault.lock():
            self._vault.required()
            return tend(self._vault)

    def faults(self) -> tuple[Fault, ...]:
        """What isn't well or soon won't be, and what to do: texts of alarms. Changes nothing."""
        with self._turn():
            return faults(self._vault)

    def trust_clock(self) -> datetime:
        """Somebody says that the clock is right. :raises RefusedError: ``clock_wrong``: it can't be."""
        with self._vault.lock(), files.explained(later("the time")):
            self._vault.required()
            return self._vault.keeper.trust()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._vault.lock():
            self._vault.required()
            yield

    def _grant(self, found: Issued, former: Iterable[Issued]) -> Granted:
        ended = self._revoke(former, Reason.SUPERSEDED, found.serial)
        issuer = self._vault.intermediates()[found.issuer].issuer.certificate
        chain = certificates.pem(found.certificate) + certificates.pem(issuer)
        wrapped = tls_crypt.new_client_key(self._vault.tls_crypt(), tls_crypt.pass_of(found.site, found.generation))
        with files.explained(later("the key of a relay")):
            self._vault.registry.put_relay_key(found.serial, tls_crypt.relay_key(wrapped))
        self._vault.keeper.note()
        return Granted(found, chain, certificates.pem(self._vault.root()), wrapped, ended)

    def _revoke(self, records: Iterable[Issued], reason: Reason, by: str | None) -> tuple[Issued, ...]:
        """Record, then publish. All that are revoked now and haven't expired, so that a repeated call ends them too."""
        found = tuple(living(records, (), self._vault.keeper.best()))
        for each in found:
            self._record(each.serial, reason, by)
            checkpoint("pki:revoked")
        self._publish()
        return found

    def _record(self, serial: str, reason: Reason, by: str | None) -> None:
        record = Revoked(serial, self._vault.keeper.best(), reason, by)
        self._vault.with_reserve(later("the revocation"), lambda: self._vault.registry.revoke(record))

    def _publish(self) -> None:
        with files.explained(later("the list of revoked certificates")):
            publish(self._vault, self._vault.keeper.shown())

    def _known(self, serial: str) -> Issued:
        found = self._vault.registry.issued().get(serial)
        if found is None:
            raise NotFoundError(
                f"there is no certificate {serial}", "look at those that were issued", error_id="no_certificate"
            )
        return found

    def _lives(self, found: Issued) -> bool:
        return bool(living([found], self._vault.registry.revoked(), self._vault.keeper.best()))

    def _issued_to(self, site: str) -> list[Issued]:
        return [each for each in self._vault.registry.issued().values() if each.site == site != ""]

    def _of_key(self, key: PublicKey) -> Issued | None:
        """The last certificate for this key."""
        wanted = certificates.fingerprint(key)
        found = [each for each in self._vault.registry.issued().values() if each.key == wanted]
        return found[-1] if found else None

    def _renewals(self, former: Issued) -> list[Issued]:
        found = [each for each in self._vault.registry.issued().values() if each.replaces == former.serial]
        return [each for each in found if self._lives(each)]

    @staticmethod
    def _may_renew(former: Issued, unused: list[Issued], now: datetime) -> None:
        if now < former.due:
            raise RefusedError(
                f"the certificate {former.name} is good until {former.ends:%Y-%m-%d}: renew it from {former.due:%Y-%m-%d} on",
                "to replace it at once, enrol the site again", error_id="not_due",
            )  # fmt: skip
        if any(now < each.begins + BACKDATED + AGAIN for each in unused):
            raise RefusedError(
                f"the certificate {former.name} was renewed less than an hour ago, with another key",
                "use that one, or try again in an hour", error_id="renewed_already",
            )  # fmt: skip


def _reused(found: Issued) -> RefusedError:
    return RefusedError(
        f"the certificate {found.name} has the same key", "make a new key for each request: a copied edge has the other's",
        error_id="key_reused",
    )  # fmt: skip
