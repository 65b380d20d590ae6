"""Lists of revoked certificates (CRL): what OpenVPN's ``crl-verify`` reads.

One file holds the list of every intermediate that hasn't expired, and the root's. OpenVPN checks the whole chain against
them. A single list that is *missing* is no objection to it (``verify_callback`` in ``ssl_verify_openssl.c``); one that has
expired, or a file without any, is an objection to everybody. So the file is complete or it is made again, and every list in it is renewed when a third of its
time is gone.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Final

from cryptography import x509

from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates
from appliance.vpn.pki.certificates import Entry
from appliance.vpn.pki.lifetimes import LIST, list_due
from appliance.vpn.pki.registry import Issued
from appliance.vpn.pki.vault import Intermediate, Vault, lists, signed_by

DUE: Final = later("it is due for renewal")
"""All else that is unsound has to be mended at once."""


def wanted(vault: Vault) -> dict[int, dict[int, Entry]]:
    """Number of each intermediate in force → serial → entry. What expired is left out after the life of one more list
    (RFC 5280 §3.3); what can't be told whose it was stands in all of them. A clock that is far ahead shortens no list."""
    now = vault.keeper.best()
    issued = vault.registry.issued()
    found: dict[int, dict[int, Entry]] = {each.number: {} for each in _in_force(vault)}
    for serial, revoked in vault.registry.revoked().items():
        record = issued.get(serial)
        entry = Entry(int(serial, 16), revoked.when, revoked.reason)
        for number in found if record is None else {record.issuer} & found.keys():
            if record is None or now < record.ends + LIST:
                found[number][entry.serial] = entry
    return found


def unsound(vault: Vault, now: datetime) -> str:
    """Why OpenVPN's file isn't what it has to be; ``""``: it is."""
    found = {each.issuer: each for each in lists(files.content(vault.paths.crl) or b"")}
    root = vault.root_list()
    if root is not None and found.pop(root.issuer, None) != root:
        return later("the root's list is missing")
    for number, entries in wanted(vault).items():
        issuer = vault.intermediates()[number].issuer.certificate
        one = found.pop(issuer.subject, None)
        if one is None or not signed_by(one, issuer):
            return later("it can't be read")
        if {each.serial_number for each in one} != entries.keys():
            return later("it doesn't say what is revoked")
        if not one.last_update_utc <= now < list_due(next_update(one)):
            return DUE
    return ""


def write(vault: Vault, now: datetime) -> None:
    """Make the file anew. :raises OSError: the one before stands.

    OpenVPN reads it again when its size or its time of change, in whole seconds, is another: so that grows each time.
    """
    former = {each.issuer: each for each in lists(files.content(vault.paths.crl) or b"")}
    force = {each.number: each for each in _in_force(vault)}
    made = [
        certificates.revocation_list(
            force[number].issuer, entries.values(), now, former.get(force[number].issuer.certificate.subject)
        )
        for number, entries in wanted(vault).items()
    ]
    root = vault.root_list()
    content = b"".join(certificates.pem(each) for each in [*made, *([root] if root is not None else [])])
    before = vault.paths.crl.stat().st_mtime if vault.paths.crl.exists() else 0.0
    files.put(vault.paths.crl, content, 0o644)
    after = vault.paths.crl.stat().st_mtime
    if int(after) <= int(before) <= after + 60:  # several in one second; not after a clock from the future
        os.utime(vault.paths.crl, (int(before) + 1, int(before) + 1))


def first_end(vault: Vault) -> datetime | None:
    """When OpenVPN will begin to refuse everybody because a list has expired; None: there is none to read."""
    names = {each.issuer.certificate.subject for each in _in_force(vault)}
    ends = [next_update(each) for each in lists(files.content(vault.paths.crl) or b"") if each.issuer in names]
    return min(ends, default=None)


def next_update(found: x509.CertificateRevocationList) -> datetime:
    """Ours always say; what doesn't is over."""
    return found.next_update_utc or found.last_update_utc


def _in_force(vault: Vault) -> list[Intermediate]:
    """Those that haven't expired, and the newest always."""
    now = vault.keeper.best()
    found = list(vault.intermediates().values())
    return [each for each in found if now < each.ends or each is found[-1]]


def admitted(issued: dict[str, Issued], revoked: set[str]) -> set[tuple[str, int]]:
    """Site and generation of every tls-crypt-v2 key that is let in: whose enrolment has a certificate that wasn't revoked."""
    return {
        (each.site, each.generation) for serial, each in issued.items() if each.site and serial not in revoked
    }  # fmt: skip
