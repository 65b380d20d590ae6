"""Field types of the configuration document: each says once what is allowed and why something is refused.

Text that people type (``Label``) may hold any printable character: the writers of engine files escape it. Control
characters (new lines among them) and over-long texts are refused here, naming the field.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

LABEL_MAX: Final = 120

_CONTROL: Final = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})


def _printable(text: str) -> str:
    for position, char in enumerate(text):
        # Format characters (Cf) stay allowed: emoji are joined by U+200D. Bidirectional overrides are not: they make
        # a name on a display read as another.
        if unicodedata.category(char) in _CONTROL or char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
            msg = f"holds a character that can't be shown (U+{ord(char):04X} at position {position + 1})"
            raise ValueError(msg)
    return text


def _trimmed(text: str) -> str:
    if text != text.strip():
        msg = "starts or ends with white space"
        raise ValueError(msg)
    return text


Label = Annotated[
    str, StringConstraints(min_length=1, max_length=LABEL_MAX), AfterValidator(_printable), AfterValidator(_trimmed)
]
"""A name or label for people: 1 to 120 printable characters, any script, emoji included."""

ObjectId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
"""Immutable identity of an object: 1 to 40 of a-z, 0-9 and inner hyphens. Device ids are SIP user names too."""

ExtensionNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{2,10}$")]
"""An internal number: 2 to 10 digits."""

E164 = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{4,14}$")]
"""A number in E.164 form with its plus sign (ITU-T E.164: at most 15 digits). Italian leading zeros are kept."""

DialledDigits = Annotated[str, StringConstraints(pattern=r"^[0-9*#]{1,15}$")]
"""What a finger types: digits, star, hash."""

E164Prefix = Annotated[str, StringConstraints(pattern=r"^\+[0-9]{0,15}$")]
"""The beginning of an E.164 number; a lone ``+`` means any."""

Language = Annotated[str, StringConstraints(pattern=r"^(it|en)$")]
"""Language of prompts and screens: ``it`` or ``en``."""

SipToken = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.!~*'()&=+$,;?/%@-]{1,128}$")]
"""A SIP user name as a provider gives it (RFC 3261 user characters, escaped forms and ``@``)."""

Host = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*|[0-9A-Fa-f:.]+)$",
        max_length=253,
    ),
]
"""A host name (RFC 1123) or an IPv4/IPv6 address without brackets."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP or UDP port."""

Seconds = Annotated[int, Field(ge=0, le=86400)]
"""A duration in whole seconds, at most a day."""


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _interface(text: str) -> str:
    if "/" not in text:
        msg = "has no length of its network, as in 192.0.2.7/24"
        raise ValueError(msg)
    found = ipaddress.ip_interface(text)
    address, network = found.ip, found.network
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        msg = "is no address that a machine can have there"
        raise ValueError(msg)
    if network.prefixlen < network.max_prefixlen - 1:
        if network.version == 4 and address == network.broadcast_address:
            msg = "is its network's broadcast address"
            raise ValueError(msg)
        if address == network.network_address:
            msg = "is its network's own address"
            raise ValueError(msg)
    return str(found)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{text!r} is not a time zone of the tz database"
        raise ValueError(msg) from error
    return text


IpAddress = Annotated[str, AfterValidator(_address)]
"""An IPv4 or IPv6 address, kept in its canonical text form (RFC 5952)."""

IpNetwork = Annotated[str, AfterValidator(_network)]
"""An IPv4 or IPv6 network in CIDR form without host bits."""

IpInterface = Annotated[str, AfterValidator(_interface)]
"""An address of a machine with the length of its network, such as ``192.0.2.7/24``."""

TimeZone = Annotated[str, AfterValidator(_zone)]
"""A name of the tz database, such as ``Europe/Rome``."""

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]{1,64}@[A-Za-z0-9.-]{1,189}$")]
"""An e-mail address: enough to catch slips of the finger; the mail server decides."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Marks a text of several lines."""


_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END \1-----")
_PEM_LINE: Final = 64
CERTIFICATES_MAX: Final = 50


def _certificates(text: str) -> str:
    """The certificates of a PEM text, without what stands between them (RFC 7468 section 5)."""
    found: list[str] = []
    for label, body in _PEM.findall(text):
        if "PRIVATE KEY" in label:
            msg = "holds a private key: only certificates belong here, and that key is to be replaced"
            raise ValueError(msg)
        if label != "CERTIFICATE":
            continue
        try:
            data = base64.b64decode("".join(body.split()), validate=True)
        except binascii.Error as error:
            msg = f"holds a certificate that can't be read (number {len(found) + 1})"
            raise ValueError(msg) from error
        if not _is_one_sequence(data):
            msg = f"holds a certificate that can't be read (number {len(found) + 1})"
            raise ValueError(msg)
        whole = base64.b64encode(data).decode()
        lines = [whole[start : start + _PEM_LINE] for start in range(0, len(whole), _PEM_LINE)]
        found.append("\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----")))
    if not found:
        msg = "holds no certificate: a text that begins with -----BEGIN CERTIFICATE-----"
        raise ValueError(msg)
    if len(found) > CERTIFICATES_MAX:
        msg = f"holds {len(found)} certificates, more than {CERTIFICATES_MAX}"
        raise ValueError(msg)
    return "\n".join(dict.fromkeys(found)) + "\n"


def _is_one_sequence(data: bytes) -> bool:
    """Whether it is one DER sequence from its first byte to its last: as much as can be told of a certificate without opening it."""
    if len(data) < 4 or data[0] != 0x30:
        return False
    octets = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + octets], "big") if octets else data[1]
    return 2 + octets + length == len(data)


PemCertificates = Annotated[str, StringConstraints(max_length=200_000), AfterValidator(_certificates), Lines()]
"""Certificates of authorities that are trusted: PEM (RFC 7468), one or several. Kept without comments between them."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


ListField = BeforeValidator(_as_tuple)
"""Lists in files become tuples in models: objects of the document are immutable."""


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Marks a list whose order means nothing: people see boxes to tick, or rows without arrows. Other lists are ordered."""


@dataclass(frozen=True, slots=True)
class RefTo:
    """Marks a field as the id of an object of one of the named kinds; the document checks that it exists.

    ``built_in``: ids that need not be in the document.
    """

    kinds: tuple[str, ...]
    built_in: frozenset[str] = frozenset()

    def __init__(self, *kinds: str, built_in: frozenset[str] = frozenset()) -> None:
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "built_in", built_in)


FORMS: Final = {
    r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$": "a-z, 0-9 and inner hyphens, at most 40",
    r"^[0-9]{2,10}$": "2 to 10 digits",
    r"^\+[1-9][0-9]{4,14}$": "number in E.164 form (+39…)",
    r"^\+[0-9]{0,15}$": "beginning of an E.164 number",
    r"^[0-9*#]{1,15}$": "digits, * and #",
    r"^(it|en)$": "it or en",
    r"^[A-Z]{2}$": "country code of two letters (ISO 3166)",
    r"^[^@\s]{1,64}@[A-Za-z0-9.-]{1,189}$": "e-mail address",
    r"^https://[^\s@#\\]+$": "URL that begins with https:// and holds no password",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "time of day (hh:mm)",
    r"^[A-Za-z0-9_.@\\-]{1,64}$": "user name",
    r"^(ssh-|ecdsa-)[a-z0-9-]+ [A-Za-z0-9+/]+={0,2}$": "type and key, as ssh-keyscan shows them: ssh-ed25519 AAAA…",
    r"^[^\x00-\x1f]{1,500}$": "path of a directory",
    r"^[A-Za-z0-9.-]+ *=[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]$": "distinguished name such as ou=people,dc=example,dc=com",
    r"^[A-Za-z][A-Za-z0-9-]{0,62}$": "name of an attribute or class: letters, digits and hyphens",
    r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$": "name of a network interface such as eth0",
    r"^[!-~]{1,255}$": "1 to 255 letters, digits and signs without blanks",
    r"^[!-~]{1,200}$": "1 to 200 letters, digits and signs without blanks",
    r"^[!#-\[\]-~]{1,100}$": "a word without blanks and quotes",
    r"^[A-Za-z0-9_.:/-]{1,200}$": "name of a claim",
    r"^[!-~]([ -~]{0,198}[!-~])?$": "name of a group, as the provider sends it",
    r"^https://[A-Za-z0-9.:\[\]-]+(/[^\s?#]*)?$": "address that begins with https:// and has no ? or #",
    r"^([a-z_]+|\*)(\.[a-z_]+)?:(view|edit)$": "permission such as extension:view, person.name:edit or *:edit",
}
"""Patterns of field types, in words."""


def valid_id(text: str) -> bool:
    """Whether ``text`` may be the id of an object."""
    return re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", text) is not None
