"""What OpenVPN reads, made from the authority's directory, and the lines of its configuration that name it.

Everything here can be made again; :func:`publish` changes only what differs. OpenVPN runs on whatever stands here when every
other process is dead.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.applier.files import fsync_directory
from appliance.i18n import later
from appliance.paths import VpnPaths
from appliance.vpn import files
from appliance.vpn.pki import certificates, lists, tls_crypt
from appliance.vpn.pki.certificates import SERVER_NAME
from appliance.vpn.pki.lifetimes import list_urgent
from appliance.vpn.pki.lists import admitted
from appliance.vpn.pki.vault import Vault

ADMIT: Final = """\
# Whether the tls-crypt-v2 key that somebody came with is admitted: $1 has an empty file of the name in its metadata.
# Called by OpenVPN before any TLS is spoken. No program besides the shell itself is started: this holds OpenVPN up.
[ "$metadata_type" = 0 ] || exit 1
IFS= read -r pass < "$metadata_file"
case "$pass" in '' | .* | *[!a-z0-9.-]*) exit 1 ;; esac
[ -e "$1/$pass" ]
"""


def publish(vault: Vault, now: datetime) -> None:
    """Bring it up to date. First what shuts out, then what lets in.

    :param now: what the machine's clock says, because OpenVPN goes by it.
    :raises OSError: what was written stays; call it again.
    """
    paths = vault.paths
    for directory in (paths.top, paths.openvpn, paths.admitted):
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o777 != 0o711:
            directory.chmod(0o711)
    files.remove_drafts(paths.openvpn)
    passes = {
        tls_crypt.pass_of(*each)
        for each in admitted(vault.registry.issued(), set(vault.registry.revoked()))
    }  # fmt: skip
    for path in paths.admitted.iterdir():
        if path.name not in passes:
            path.unlink(missing_ok=True)
    checkpoint("pki:shut-out")
    if why := lists.unsound(vault, now):
        ends = lists.first_end(vault)
        if why == lists.DUE and ends is not None and now < list_urgent(ends):
            lists.write(vault, now)
        else:
            vault.with_reserve(later("the list of revoked certificates"), lambda: lists.write(vault, now))
    if paths.crl.stat().st_mode & 0o777 != 0o644:
        paths.crl.chmod(0o644)  # who can't read it lets nobody in
    checkpoint("pki:listed")
    _same(paths.root_certificate, certificates.pem(vault.root()), 0o644)
    _same(paths.tls_crypt, vault.tls_crypt(), 0o600)
    _same(paths.admit, ADMIT.encode(), 0o644)
    if missing := passes - {path.name for path in paths.admitted.iterdir()}:
        for name in missing:
            (paths.admitted / name).touch(0o644)
        fsync_directory(paths.admitted)
    checkpoint("pki:published")


def _same(path: Path, content: bytes, mode: int) -> None:
    if files.content(path) != content or path.stat().st_mode & 0o777 != mode:
        files.put(path, content, mode)


def server_lines(paths: VpnPaths) -> list[str]:
    """For a server's configuration: whom it believes, what it shows, whom it turns away.

    The script needs ``script-security 2``, a shell, and a ``tmp-dir`` that the server's user may write to.
    """
    return [
        f"ca {_quoted(paths.root_certificate)}",
        f"cert {_quoted(paths.server)}",
        f"key {_quoted(paths.server)}",
        "dh none",
        f"crl-verify {_quoted(paths.crl)}",
        f"tls-crypt-v2 {_quoted(paths.tls_crypt)} force-cookie",
        "script-security 2",
        f"tls-crypt-v2-verify \"/bin/sh '{paths.admit}' '{paths.admitted}'\"",
        "remote-cert-tls client",
        "verify-client-cert require",
        "tls-version-min 1.2",
    ]


def client_lines() -> list[str]:
    """For a branch's configuration, besides its own ``ca``, ``cert``, ``key`` and ``tls-crypt-v2``."""
    return ["remote-cert-tls server", f"verify-x509-name {SERVER_NAME} name", "tls-version-min 1.2"]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
