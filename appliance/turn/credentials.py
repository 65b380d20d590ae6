"""Credentials for the TURN server that are good for a time (pure; draft-uberti-behave-turn-rest-00 section 2.2).

The user name is when they end and whose they are, the password is its HMAC. Whoever has the secret makes them, the TURN server checks
them by the same secret, and neither keeps a list. The name goes over the net in the clear: so it isn't the person's, but one that
only the holder of the secret can tell it from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

LIFETIME_S: Final = 6 * 3600
"""How long they open new relays. One that is open goes on as long as its client refreshes it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """``expires``: seconds since 1970."""

    username: str
    password: str = field(repr=False)
    expires: int


def credentials(secret: str, person: str, now: float, lifetime_s: int = LIFETIME_S) -> Credentials:
    """For one person (or program), from ``now`` on (seconds since 1970)."""
    expires = int(now) + lifetime_s
    who = hmac.new(secret.encode(), b"who " + person.encode(), hashlib.sha256).hexdigest()[:16]
    username = f"{expires}:{who}"
    # SHA-1 is the protocol's; as an HMAC nothing is known against it (RFC 6194 section 3.3).
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return Credentials(username, base64.b64encode(digest).decode(), expires)
