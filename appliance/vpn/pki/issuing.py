"""Making an authority, and single certificates of it."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.applier.files import fsync_directory
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates, lifetimes, tls_crypt
from appliance.vpn.pki.certificates import Issuer, PublicKey, Role
from appliance.vpn.pki.lifetimes import BACKDATED
from appliance.vpn.pki.registry import Issued
from appliance.vpn.pki.vault import RESERVE_BYTES, Vault

_OURS: Final = {
    Role.SERVER: certificates.SERVER_NAME, Role.SIGNER: certificates.SIGNER_NAME, Role.GATE: certificates.GATE_NAME,
}  # fmt: skip
"""Common names of what the centre shows its branches."""
_LASTS: Final = {
    Role.SERVER: lifetimes.SERVER, Role.SIGNER: lifetimes.SIGNER, Role.GATE: lifetimes.GATE,
    Role.BRANCH: lifetimes.BRANCH, Role.THIRD_PARTY: lifetimes.THIRD_PARTY,
}  # fmt: skip


def make(vault: Vault) -> None:
    """A whole authority, under another name until it is complete. With the lock held.

    :raises OSError: there is none; call it again. :raises RefusedError: ``clock_wrong``.
    """
    now = vault.keeper.now()
    draft = vault.paths.ca_draft
    try:
        _draft(vault, draft, now)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)  # room for who asks
        raise
    draft.rename(vault.paths.ca)
    fsync_directory(vault.paths.top)
    checkpoint("pki:made")


def _draft(vault: Vault, draft: Path, now: datetime) -> None:
    shutil.rmtree(draft, ignore_errors=True)  # of somebody who was killed: its keys were nobody's yet
    for directory in (draft, draft / "intermediate", draft / "issued", draft / "revoked"):
        directory.mkdir(mode=0o700)
    key, begins = certificates.new_key(), now - BACKDATED
    root = Issuer(certificates.root(key, begins, now + lifetimes.ROOT), key)
    files.put(draft / "root.key", certificates.key_pem(key))
    files.put(draft / "root.crt", certificates.pem(root.certificate))
    files.put(draft / "root.crl", certificates.pem(certificates.revocation_list(root, (), now, None)))
    checkpoint("pki:root-made")
    own = certificates.new_key()
    ends = lifetimes.end(now, lifetimes.INTERMEDIATE, root.certificate.not_valid_after_utc)
    below = certificates.intermediate(root, own.public_key(), 1, begins, ends)
    vault.put_intermediate(1, Issuer(below, own), draft)
    files.put(draft / "tls-crypt-v2.key", tls_crypt.new_server_key())
    files.put(draft / "reserve", os.urandom(RESERVE_BYTES))
    checkpoint("pki:drafted")
    for directory in (draft / "intermediate", draft):
        fsync_directory(directory)


def issue(
    vault: Vault, key: PublicKey, role: Role, site: str, generation: int, replaces: str | None
) -> Issued:  # fmt: skip
    """A certificate, recorded before anybody has it. :raises RefusedError: ``clock_wrong``, ``authority_expired``."""
    now = vault.keeper.now()
    signing = vault.signing(now)
    taken = {each.name for each in vault.registry.issued().values()}
    serial = next(
        each for each in iter(certificates.new_serial, 0) if certificates.common_name(site, each) not in taken
    )
    name = _OURS.get(role) or certificates.common_name(site, serial)
    begins = signing.begins if role in _OURS else max(now - BACKDATED, signing.begins)
    ends = lifetimes.end(now, _LASTS[role], signing.ends)
    made = certificates.leaf(signing.issuer, key, role, name, serial, begins, ends)
    record = Issued(role, site, generation, signing.number, replaces, made)
    checkpoint("pki:signed")
    with files.explained(later("the record of a certificate")):
        vault.registry.add(record)
    checkpoint("pki:recorded")
    return record
