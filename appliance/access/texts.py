"""Random tokens and what is kept of them; text of strangers made fit for a database, a log and a screen."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
import unicodedata
from typing import Final

TOKEN_BYTES: Final = 32
"""256 random bits: nobody guesses them, so a fast hash is enough to keep."""
ADDRESS_MAX: Final = 64


def new_token() -> str:
    """256 random bits as 43 characters that fit a cookie and a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_id(bits: int = 60) -> str:
    """A random id for people to read and type: lower-case letters and 2–7, five bits each."""
    raw = secrets.token_bytes((bits + 7) // 8)
    return base64.b32encode(raw).decode().lower()[: bits // 5]


def hashed(token: str) -> str:
    """What is kept of a token: SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def clean(text: str, longest: int) -> str:
    """One printable line, cut to length: whoever sent it can't forge lines of a log or turn the writing round."""
    fit = (char if unicodedata.category(char)[0] != "C" else " " for char in text[: 4 * longest])
    return " ".join("".join(fit).split())[:longest]


def place(address: str) -> str:
    """What counts as one place: an IPv4 address; of an IPv6 address its /64, for that is what one customer gets (RFC 6177).

    Anything else (a Unix socket has no address) is one place together.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)
