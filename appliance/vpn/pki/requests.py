"""Certificate signing requests (PKCS #10, RFC 2986): only the public key is taken from them.

Names and extensions that they ask for are ignored: who a branch is, the one knows who handed out its enrolment, and the
authority writes names and usages itself.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.errors import Fault, InvalidError
from appliance.vpn.pki.certificates import PublicKey

MAX_BYTES: Final = 16 * 1024
"""A request with a P-384 key has about 600."""

_HINT: Final = "a request (CSR, PEM) for an ECDSA key on P-256 or P-384, signed by that key with SHA-256 or better"
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def public_key(request: bytes) -> PublicKey:
    """The key of a request whose sender has the private one.

    :raises InvalidError: ``bad_csr``, naming what is wrong with it.
    """
    if len(request) > MAX_BYTES:
        raise _refused(f"the request has {len(request)} bytes, and {MAX_BYTES} are allowed")
    if b"PRIVATE KEY" in request:
        raise _refused("a private key came with the request: that key is spent, because it has travelled")
    try:
        found = x509.load_pem_x509_csr(request)
        key = found.public_key()
        hash = found.signature_hash_algorithm
        valid = found.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise _refused("this is no certificate signing request that can be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _refused(f"the request is for a key of another kind ({_kind(key)})")
    if not isinstance(key.curve, _CURVES):
        raise _refused(f"the request is for a key on the curve {key.curve.name}")
    if not isinstance(hash, _HASHES):
        raise _refused("the request is signed with a hash that isn't safe any more")
    if not valid:
        raise _refused("the request isn't signed by the key it is for")
    return key


def _kind(key: object) -> str:
    return type(key).__name__.removesuffix("PublicKey")


def _refused(message: str) -> InvalidError:
    return InvalidError([Fault("csr", message, _HINT, "bad_csr")])


def load_private(pem: bytes, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey | None:
    """An elliptic private key, or None: it is something else, damaged, or the passphrase is wrong."""
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None
