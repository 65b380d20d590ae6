"""Upkeep: renewals at their time, what was cut short finished, and what has to be told.

Each task stands for itself: one that fails is told, and hinders no other.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.core.errors import CentralinoError, Fault, UnavailableError
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates, chains, lists
from appliance.vpn.pki.certificates import Role
from appliance.vpn.pki.issuing import issue
from appliance.vpn.pki.lifetimes import INTERMEDIATE, SERVER, WORTH_IT, due, end, list_urgent
from appliance.vpn.pki.registry import Issued, living
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.root import renew_intermediate
from appliance.vpn.pki.served import publish
from appliance.vpn.pki.signing import Signer
from appliance.vpn.pki.vault import Intermediate, Vault, certificate, fits

SITE: Final = "vpn/site/"
"""Where faults of a branch are, before its site's id."""
_HINT: Final = "see what the alarms say of disk and clock; until then OpenVPN goes on with the list it has"


@dataclass(frozen=True, slots=True)
class Tended:
    """What was done. ``server_renewed``: OpenVPN takes the new certificate when it is started again, at any calm hour in
    the next months. ``faults``: see :func:`faults`."""

    server_renewed: bool
    intermediate_renewed: bool
    faults: tuple[Fault, ...]


def tend(vault: Vault) -> Tended:
    """With the lock held."""
    broken: list[Fault] = []
    done = {
        name: _tried(vault, name, task, broken)
        for name, task in (
            ("list", _publish), ("intermediate", _intermediate), ("server", _server), ("signer", _signer),
            ("list", _publish), ("room", _room),
        )
    }  # fmt: skip
    found = [each for each in faults(vault) if each.error_id not in {one.error_id for one in broken}]
    return Tended(done["server"], done["intermediate"], tuple(_once([*broken, *found])))


def _tried(vault: Vault, name: str, task: Callable[[Vault], bool], broken: list[Fault]) -> bool:
    try:
        with files.explained(later("what OpenVPN reads")):
            return task(vault)
    except CentralinoError as error:
        broken.append(Fault(f"vpn/{name}", error.message, error.hint, error.error_id))
        return False


def _publish(vault: Vault) -> bool:
    publish(vault, vault.keeper.shown())
    return False


def _intermediate(vault: Vault) -> bool:
    """Renew it if it is due and the root's key is here."""
    newest = max(vault.intermediates().items())[1]
    over = newest.number in vault.revoked_intermediates()
    if not over and not _intermediate_due(vault, newest):
        return False
    key = vault.root_key()
    if key is None:
        return False
    renew_intermediate(vault, key)
    return True


def _server(vault: Vault) -> bool:
    """Renew the server's certificate if it is due, revoked, or can't be read."""
    return _shown(vault, Role.SERVER, vault.paths.server)


def _signer(vault: Vault) -> bool:
    """The same for the key that signs what branches are told."""
    return _shown(vault, Role.SIGNER, vault.paths.signer)


def _shown(vault: Vault, role: Role, path: Path) -> bool:
    if not _shown_due(vault, _issued_in(vault, path), vault.keeper.best()):
        return False
    key = certificates.new_key()
    record = issue(vault, key.public_key(), role, "", 0, None)
    issuer = vault.intermediates()[record.issuer].issuer.certificate
    content = certificates.pem(record.certificate) + certificates.pem(issuer) + certificates.key_pem(key)
    checkpoint("pki:server-signed")
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    files.put(path, content)
    checkpoint("pki:server-renewed")
    return True


def server_due(vault: Vault, now: datetime) -> bool:
    """Whether OpenVPN's server needs another certificate."""
    return _shown_due(vault, served(vault), now)


def _shown_due(vault: Vault, record: Issued | None, now: datetime) -> bool:
    if record is None or record not in living([record], vault.registry.revoked(), now):
        return True
    return now >= record.due and end(now, SERVER, vault.signing(now).ends) >= record.ends + WORTH_IT


def _intermediate_due(vault: Vault, newest: Intermediate) -> bool:
    now = vault.keeper.best()
    longest = end(now, INTERMEDIATE, vault.root().not_valid_after_utc)
    return now >= newest.due and longest >= newest.ends + WORTH_IT


def served(vault: Vault) -> Issued | None:
    """The certificate in OpenVPN's file, if it is whole and one that we issued."""
    return _issued_in(vault, vault.paths.server)


def signer(vault: Vault) -> Signer:
    """The key that signs what branches are told. :raises UnavailableError: ``no_signer``."""
    content = files.secret(vault.paths.signer, later("the signer's key")) or b""
    shown, key = certificate(content), load_private(content)
    if shown is None or key is None or not fits(key, shown) or _issued_in(vault, vault.paths.signer) is None:
        raise UnavailableError(
            "there is no key that signs what branches are told", "the voice VPN's process makes one: centralino doctor",
            error_id="no_signer",
        )  # fmt: skip
    chain = b"".join(certificates.pem(each) for each in chains.read(content))
    return Signer(key, chain)


def _issued_in(vault: Vault, path: Path) -> Issued | None:
    content = files.content(path) or b""
    shown, key = certificate(content), load_private(content)
    if shown is None or key is None or not fits(key, shown):
        return None
    return vault.registry.issued().get(certificates.hexadecimal(shown.serial_number))


def _room(vault: Vault) -> bool:
    now = vault.keeper.best()
    vault.keeper.note()
    vault.registry.prune(now)
    files.remove_drafts(vault.paths.ca)
    files.remove_drafts(vault.paths.ca / "intermediate")
    vault.keep_reserve()
    return False


def faults(vault: Vault) -> tuple[Fault, ...]:
    """What isn't well or soon won't be. Changes nothing."""
    found: list[Fault] = []
    for look in (_clock, _damage, _lists, _authority, _servers, _branches):
        with _into(found):
            found += look(vault)
    return tuple(_once(found))


@contextmanager
def _into(found: list[Fault]) -> Iterator[None]:
    """What can't even be looked at is a fault too."""
    try:
        yield
    except CentralinoError as error:
        found.append(Fault("vpn/authority", error.message, error.hint, error.error_id))


def _once(found: list[Fault]) -> list[Fault]:
    return list(dict.fromkeys(found))


def _clock(vault: Vault) -> Iterator[Fault]:
    try:
        vault.keeper.now()
    except CentralinoError as error:
        yield Fault("vpn/clock", error.message, error.hint, error.error_id)


def _damage(vault: Vault) -> Iterator[Fault]:
    revoked = vault.registry.revoked()
    for serial in vault.registry.damaged():
        if serial not in revoked:
            yield Fault(
                f"vpn/certificate/{serial}", f"the record of the certificate {serial} is damaged",
                "restore it from a backup, or enrol every site again whose branch is turned away: centralino vpn status", "record_damaged",
            )  # fmt: skip


def _lists(vault: Vault) -> Iterator[Fault]:
    now = vault.keeper.shown()
    ends = lists.first_end(vault)
    if ends is None or ends <= now:
        yield Fault(
            "vpn/list", "the list of revoked certificates can't be read or has expired",
            "OpenVPN lets nobody in with an expired list or without any: free some space on the disk",
            "crl_expired",
        )  # fmt: skip
    elif list_urgent(ends) <= now:
        yield Fault(
            "vpn/list", f"the list of revoked certificates couldn't be renewed; from {ends:%Y-%m-%d} on nobody gets in",
            _HINT, "crl_expires",
        )  # fmt: skip
    elif why := lists.unsound(vault, now):
        yield Fault("vpn/list", f"the list of revoked certificates isn't up to date: {why}", _HINT, "crl_stale")


def _authority(vault: Vault) -> Iterator[Fault]:
    now, root = vault.keeper.best(), vault.root()
    newest = max(vault.intermediates().items())[1]
    if _intermediate_due(vault, newest):
        late = now >= newest.urgent
        yield Fault(
            "vpn/intermediate", f"the voice VPN's intermediate ends on {newest.ends:%Y-%m-%d} and has to be renewed",
            "bring the exported copy of the root's key: centralino vpn root renew FILE", "intermediate_due",
            "error" if late else "warning",
        )  # fmt: skip
    if now >= due(root.not_valid_before_utc, root.not_valid_after_utc):
        yield Fault(
            "vpn/root", f"the voice VPN's root ends on {root.not_valid_after_utc:%Y-%m-%d}",
            "plan for a new authority: every site has to be enrolled again", "root_due", "warning",
        )  # fmt: skip
    if not vault.exported():
        yield Fault(
            "vpn/root", "nobody has shown to have a copy of the voice VPN's root key",
            "centralino vpn root export FILE; keep the file elsewhere; then centralino vpn root verify FILE", "root_not_exported",
            "warning",
        )  # fmt: skip


def _servers(vault: Vault) -> Iterator[Fault]:
    now, record = vault.keeper.best(), served(vault)
    if record is None or record not in living([record], vault.registry.revoked(), now):
        yield Fault(
            "vpn/server", "the voice VPN's server has no certificate that is good",
            "see what the other alarms say: it couldn't be renewed", "server_certificate",
        )  # fmt: skip
    elif now >= record.urgent:
        yield Fault(
            "vpn/server", f"the certificate of the voice VPN's server ends on {record.ends:%Y-%m-%d} and couldn't be renewed",
            "see what the other alarms say", "server_certificate",
        )  # fmt: skip
    signer = _issued_in(vault, vault.paths.signer)
    if signer is None or signer not in living([signer], vault.registry.revoked(), now) or now >= signer.urgent:
        yield Fault(
            "vpn/signer", "the certificate that signs what branches are told is missing, or ends soon, and couldn't be renewed",
            "see what the other alarms say", "signer_certificate",
        )  # fmt: skip


def _branches(vault: Vault) -> Iterator[Fault]:
    now, revoked = vault.keeper.best(), vault.registry.revoked()
    newest = {
        each.site: each for serial, each in vault.registry.issued().items() if each.site and serial not in revoked
    }  # the last one of each site
    for each in newest.values():
        anew = f"centralino vpn {'bundle' if each.role is Role.THIRD_PARTY else 'enrol'} {each.site}"
        if now >= each.ends:
            yield Fault(
                f"{SITE}{each.site}", f"the certificate of {each.site} ended on {each.ends:%Y-%m-%d}: it can't come in",
                f"enrol it anew: {anew}", "branch_certificate_ended",
                "warning",
            )  # fmt: skip
        elif now >= each.urgent:
            yield Fault(
                f"{SITE}{each.site}", f"the certificate of {each.site} ends on {each.ends:%Y-%m-%d} and wasn't renewed",
                f"is its edge switched on and connected? Otherwise enrol it anew in time: {anew}", "branch_certificate",
                "warning",
            )  # fmt: skip


def concerning(found: Iterable[Fault], sites: Container[str]) -> tuple[Fault, ...]:
    """Without what is told of branches that are none any more."""
    return tuple(each for each in found if not each.path.startswith(SITE) or each.path.removeprefix(SITE) in sites)
