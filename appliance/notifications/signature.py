"""How what is sent is signed (pure): Standard Webhooks 1.0.0, symmetric scheme ``v1``.

HMAC-SHA-256 (RFC 2104) over ``<id>.<timestamp>.<body>``. While a secret is being replaced there are two signatures: whoever knows
either of the two secrets finds his.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
ID: Final = "Webhook-Id"
TIMESTAMP: Final = "Webhook-Timestamp"
SIGNATURE: Final = "Webhook-Signature"


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: ``whsec_`` and base64 as in the specification, or the text itself."""
    text = secret.strip()
    if text.startswith(PREFIX):
        coded = text.removeprefix(PREFIX)
        try:
            return base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
        except ValueError:
            pass
    return text.encode()


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """One signature, ``v1,…``."""
    signed = b".".join((id.encode(), str(timestamp).encode(), body))
    return encoded(hmac.new(key_of(secret), signed, hashlib.sha256).digest())


def encoded(digest: bytes) -> str:
    """A signature as it is written."""
    return "v1," + base64.b64encode(digest).decode()


def headers(secrets: Iterable[str], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt, made at ``timestamp`` (seconds since the epoch)."""
    signatures = " ".join(dict.fromkeys(signature(secret, id, timestamp, body) for secret in secrets))
    return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: signatures}
