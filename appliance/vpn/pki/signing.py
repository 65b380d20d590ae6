"""What the centre tells its branches, signed: read by whoever has the root's certificate, whatever the clock says.

A signed text is JSON: ``signed`` (the text, base64), ``signature`` (ECDSA with SHA-384 over its purpose and it, base64, DER),
``certificate`` (the signer's and the intermediate's, PEM). The purpose is part of what is signed and never sent: a signed time is no
signed slice. Signatures don't go stale: who needs to know that one is fresh sends a number that has to be in it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.errors import Fault, InvalidError
from appliance.vpn.pki import chains
from appliance.vpn.pki.certificates import PrivateKey, Role, public_key

MAX_BYTES: Final = 4 * 1024 * 1024
_HINT: Final = "fetch it again; if that doesn't help, enrol the site again"


class Purpose(StrEnum):
    """What a signed text is for."""

    SLICE = "slice"
    TIME = "time"
    BANS = "bans"


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs, and its certificate with the intermediate's (PEM)."""

    key: PrivateKey
    chain: bytes

    def __repr__(self) -> str:
        return "<Signer>"

    def sign(self, purpose: Purpose, text: bytes) -> bytes:
        """The signed text."""
        signature = self.key.sign(_bound(purpose, text), ec.ECDSA(hashes.SHA384()))
        plain = {
            "signed": base64.b64encode(text).decode(),
            "signature": base64.b64encode(signature).decode(),
            "certificate": self.chain.decode(),
        }
        return json.dumps(plain).encode()


def verified(content: bytes, purpose: Purpose, root: x509.Certificate) -> bytes:
    """The text within, if this authority's signer signed it for that purpose.

    :raises InvalidError: ``bad_signature``, naming what is wrong.
    """
    if len(content) > MAX_BYTES:
        raise _refused(purpose, f"it has {len(content)} bytes, and {MAX_BYTES} are allowed")
    try:
        plain: dict[str, Any] = json.loads(content)
        text = base64.b64decode(plain["signed"], validate=True)
        signature = base64.b64decode(plain["signature"], validate=True)
        chain = str(plain["certificate"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused(purpose, "it can't be read") from error
    try:
        leaf = chains.leaf_of(chain, root, Role.SIGNER)
        public_key(leaf).verify(signature, _bound(purpose, text), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as error:
        raise _refused(purpose, "it was changed after it was signed, or signed for something else") from error
    except ValueError as error:
        raise _refused(purpose, f"the certificate of who signed it isn't in order: {error}") from error
    return text


def _bound(purpose: Purpose, text: bytes) -> bytes:
    return b"centralino " + purpose.encode() + b"\x00" + text


def _refused(purpose: Purpose, message: str) -> InvalidError:
    return InvalidError([Fault(purpose, message, _HINT, "bad_signature")])
