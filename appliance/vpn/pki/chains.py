"""Chains of our own certificates, judged against the root alone: pure, and without any clock.

For who has no time to believe: an edge without battery, before anybody told it what time it is. A certificate that has expired is
taken, therefore: who may not be believed any more has lost its key or its intermediate, not its date (RFC 5280 §6.1 without
its step (a)(2), validity).
"""

from __future__ import annotations

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.vpn.pki.certificates import USAGES, Role

MAX_BYTES: Final = 64 * 1024
"""A chain of ours has about 2,000."""
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def read(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, in its order. :raises ValueError: one can't be read, or it is too large."""
    if len(pem) > MAX_BYTES:
        msg = f"it has {len(pem)} bytes, and {MAX_BYTES} are allowed"
        raise ValueError(msg)
    return [x509.load_pem_x509_certificate(found + b"\n") for found in _CERTIFICATE.findall(pem)]


def root_of(pem: bytes) -> x509.Certificate:
    """The one certificate of a file, if it is an authority's that signed itself. :raises ValueError: in words for people."""
    (root,) = _some(pem, 1)
    if not _signs(root) or not _issued(root, root):
        msg = "it is no authority's own certificate"
        raise ValueError(msg)
    return root


def leaf_of(chain: bytes, root: x509.Certificate, role: Role) -> x509.Certificate:
    """The leaf of a chain (its certificate, then the intermediate's), if the root stands above it and it is for that role.

    :raises ValueError: in words for people.
    """
    leaf, between = _some(chain, 2)
    if not _issued(between, root) or not _signs(between):
        msg = "its intermediate isn't of this authority"
        raise ValueError(msg)
    if not _issued(leaf, between):
        msg = "it isn't signed by the intermediate that came with it"
        raise ValueError(msg)
    if not _is_for(leaf, role):
        msg = "it is for another use"
        raise ValueError(msg)
    return leaf


def _some(pem: bytes, number: int) -> list[x509.Certificate]:
    try:
        found = read(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = "it can't be read"
        raise ValueError(msg) from error
    if len(found) != number:
        msg = f"it holds {len(found)} certificates instead of {number}"
        raise ValueError(msg)
    return found


def _issued(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return isinstance(by.public_key(), ec.EllipticCurvePublicKey)


def _signs(one: x509.Certificate) -> bool:
    try:
        authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return authority and usage.key_cert_sign


def _is_for(one: x509.Certificate, role: Role) -> bool:
    try:
        authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usages = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signs = one.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except (x509.ExtensionNotFound, ValueError):
        return False
    return not authority and signs and list(usages) == [USAGES[role]]
