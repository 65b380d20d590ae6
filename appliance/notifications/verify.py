"""What must hold of notification endpoints and exports, beyond what their models check (pure)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.core.model import Object
from appliance.notifications.model import (
    EmailEndpoint,
    HistoryExport,
    NotificationEndpoint,
    SftpTarget,
    WebReceiver,
)
from appliance.organisation.model import Secret

_URL: Final = re.compile(r"https://(\[[0-9A-Fa-f:.]+\]|[^/?:\[\]]+)(?::([0-9]{1,5}))?(?:[/?].*)?", re.DOTALL)
_KEY_TYPES: Final = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
)  # fmt: skip
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    for endpoint in document.all(NotificationEndpoint).values():
        if isinstance(endpoint.target, EmailEndpoint):
            yield Fault(
                endpoint.path("target"),
                "nothing is sent by e-mail by this release",
                "use a webhook",
                "email_not_sent",
                "warning",
            )
        else:
            yield from _web(document, endpoint, endpoint.target)
    for export in document.all(HistoryExport).values():
        if isinstance(export.target, SftpTarget):
            yield from _sftp(document, export, export.target)
        else:
            yield from _web(document, export, export.target)
        doubles = {column for column in export.columns if export.columns.count(column) > 1}
        if doubles:
            message = f"has {', '.join(sorted(doubles))} twice"
            yield Fault(export.path("columns"), message, "name each column once", "duplicate")


def _web(document: Document, item: Object, target: WebReceiver) -> Iterator[Fault]:
    match = _URL.fullmatch(target.url)
    if match is None or not 0 < int(match[2] or 443) < 65536:
        message = "is not the URL of a web server"
        yield Fault(item.path("target.url"), message, "https://host.example.com/path", "bad_url")
    elif not target.allow_local and is_local(match[1]):
        yield _local(item, "target.url")
    if target.previous_secret == target.secret:
        yield Fault(
            item.path("target.previous_secret"), "is the secret itself", "leave it empty, or name the one before",
            "same_secret",
        )  # fmt: skip
    yield from _value(document, item, "target.secret", target.secret)


def _sftp(document: Document, item: Object, target: SftpTarget) -> Iterator[Fault]:
    if not target.allow_local and is_local(target.host):
        yield _local(item, "target.host")
    kind, _, coded = target.host_key.partition(" ")
    if kind not in _KEY_TYPES or not _is_key(kind, coded):
        hint = f"one line of ssh-keyscan without its host, of one of the types {', '.join(_KEY_TYPES)}"
        yield Fault(item.path("target.host_key"), "is not a public key of an SSH server", hint, "bad_host_key")
    yield from _value(document, item, "target.secret", target.secret)


def _is_key(kind: str, coded: str) -> bool:
    """Whether it is such a public key (RFC 4253 section 6.6): it begins with the name of its type."""
    try:
        data = base64.b64decode(coded, validate=True)
    except binascii.Error:
        return False
    return data.startswith(len(kind).to_bytes(4, "big") + kind.encode()) and len(data) > len(kind) + 4 + 4


def _local(item: Object, field: str) -> Fault:
    return Fault(item.path(field), "leads to this machine itself", "if that is meant, set allow_local", "local_address")


def _value(document: Document, item: Object, field: str, id: str) -> Iterator[Fault]:
    secret = document.find(Secret, id)
    if secret is not None and secret.value is None:
        hint = f"centralino secret set {id}"
        yield Fault(item.path(field), f"secret {id} has no value: nothing is sent", hint, "no_value", "warning")


def is_local(host: str) -> bool:
    """Whether a host, as it is written, is this machine: by name or by address."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return forbidden(ipaddress.ip_address(host))
    except ValueError:
        return False


def forbidden(address: Address) -> bool:
    """Whether nothing is sent to such an address unless it is allowed: loopback, link-local (where clouds keep their secrets),
    and what is nobody's. Private networks are the company's own."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None and forbidden(inner):
            return True
        if address in _NAT64 and forbidden(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)):
            return True
    return (
        address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        or (address.version == 4 and (address in _THIS_NETWORK or int(address) == 0xFFFFFFFF))
    )  # fmt: skip


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
