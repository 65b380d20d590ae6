"""What is carried to a new edge: where the centre is, how to know it, and the secret that opens its gate (pure).

The file is JSON on one line, so that it also fits a QR code::

    {"centralino": "enrolment", "format": 1, "site": "torino", "centres": [["vpn.example.com", 1194]],
     "root": "7f83…", "secret": "7K3MQ8ZV0C5X", "until": "2027-03-02T12:00:00Z"}

There is no private key in it. Whoever reads it on the way can use it first: then the edge is refused, and ``centralino vpn invitations`` shows
that it was used. ``until`` is for people: an edge's clock may be wrong, and the centre alone decides.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from appliance.core.errors import Fault, InvalidError
from appliance.vpn.enrolment.codes import Code, Secret, secret_in, tag_of
from appliance.vpn.model import PORTS

FORMAT: Final = 1
FILE_MAX: Final = 16 * 1024
CENTRES_MAX: Final = 16
_ROOT: Final = re.compile(r"[0-9a-f]{64}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_HINT: Final = "make another: centralino vpn enrol SITE --file F, and carry the file over as it is"


@dataclass(frozen=True, slots=True)
class Centre:
    """An address of the centre: host name or IP address, and TCP port of the gate there."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an edge is told. By a file it knows the root's whole fingerprint, by a code its tag only.

    :param site: for people; the centre knows by the secret. ``""``: a code doesn't tell.
    :param root: fingerprint of the root's public key, SHA-256, hexadecimal; ``""``: there is only ``tag``.
    """

    centres: tuple[Centre, ...]
    secret: Secret
    site: str = ""
    root: str = ""
    tag: str = ""
    until: datetime | None = None

    def knows(self, root: str) -> bool:
        """Whether this root's public key (its fingerprint) is the centre's."""
        return root == self.root if self.root else tag_of(self.secret, root) == self.tag

    def file(self) -> bytes:
        """As a file."""
        plain = {
            "centralino": "enrolment", "format": FORMAT, "site": self.site,
            "centres": [[each.host, each.port] for each in self.centres], "root": self.root, "secret": self.secret.text,
            "until": self.until.strftime("%Y-%m-%dT%H:%M:%SZ") if self.until else "",
        }  # fmt: skip
        return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def by_code(code: Code, centres: tuple[Centre, ...]) -> Invitation:
    """What somebody was told over the telephone."""
    return Invitation(centres, code.secret, tag=code.tag)


def read_file(content: bytes) -> Invitation:
    """:raises InvalidError: ``bad_invitation``, naming the field."""
    if len(content) > FILE_MAX:
        raise _bad("file", f"has {len(content)} bytes; an invitation has a few hundred")
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError):
        raise _bad("file", "is no invitation: it can't be read as JSON") from None
    if not isinstance(plain, dict) or plain.get("centralino") != "enrolment":
        raise _bad("file", "is no invitation of Centralino")
    if plain.get("format") != FORMAT:
        raise InvalidError([Fault(
            "format", f"is {plain.get('format')!r}, and this edge reads {FORMAT}", "update the edge, then enrol it", "bad_invitation"
        )])  # fmt: skip
    return Invitation(
        _centres(plain.get("centres")),
        _secret(plain.get("secret")),
        site=_text(plain, "site"),
        root=_root(plain.get("root")),
        until=_until(_text(plain, "until")),
    )


def read_centre(text: str) -> Centre:
    """``HOST``, ``HOST:PORT``, ``[2001:db8::1]:PORT``. The port is 1194 unless one is given.

    :raises InvalidError: ``bad_centre``.
    """
    host, port = text.strip(), str(PORTS)
    if found := re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", host):
        host, port = found[1], found[2] or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not _is_host(host) or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidError([
            Fault("centre", f"{text!r} is no address", "HOST, HOST:PORT or [IPv6 address]:PORT", "bad_centre")
        ])  # fmt: skip
    return Centre(host, int(port))


def _centres(found: Any) -> tuple[Centre, ...]:
    if not isinstance(found, list) or not 0 < len(found) <= CENTRES_MAX:
        raise _bad("centres", "names no address of the centre")
    made = []
    for each in found:
        match each:
            case [str(host), int(port)] if _is_host(host) and 0 < port < 65536:
                made.append(Centre(host, port))
            case _:
                raise _bad("centres", f"{each!r} is no address of the centre")
    return tuple(made)


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None
    return True


def _secret(found: Any) -> Secret:
    try:
        return secret_in(found)
    except (InvalidError, AttributeError, TypeError):
        raise _bad("secret", "is no secret of twelve characters") from None


def _root(found: Any) -> str:
    if not isinstance(found, str) or not _ROOT.fullmatch(found):
        raise _bad("root", "is no fingerprint of 64 hexadecimal digits")
    return found


def _text(plain: dict[str, Any], field: str) -> str:
    found = plain.get(field, "")
    if not isinstance(found, str) or len(found) > 100:
        raise _bad(field, "is no short text")
    return found


def _until(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise _bad("until", "is no time") from None


def _bad(field: str, message: str) -> InvalidError:
    return InvalidError([Fault(field, message, _HINT, "bad_invitation")])
