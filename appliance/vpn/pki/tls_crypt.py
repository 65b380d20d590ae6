"""Keys for ``tls-crypt-v2``: one of the server, and one for each branch that is wrapped under it.

OpenVPN answers nobody who has no wrapped key, before any TLS is spoken. Format: ``doc/tls-crypt-v2.txt`` of OpenVPN. The
server keeps nothing of a branch's key; what it unwraps tells the metadata, here the *pass*: site and generation of its
enrolment. OpenVPN doesn't connect it with the certificate that comes afterwards: a branch may shield its handshake with
another branch's key, as long as that one is admitted, and gains nothing by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

_SERVER: Final = "OpenVPN tls-crypt-v2 server key"
_CLIENT: Final = "OpenVPN tls-crypt-v2 client key"
_SERVER_BYTES: Final = 128
_CLIENT_BYTES: Final = 256
_TAG_BYTES: Final = 32
_USER: Final = b"\x00"
"""Type of metadata that is whatever we like."""


def pass_of(site: str, generation: int) -> str:
    """Metadata of a branch's key: site, and how many times the site was enrolled. ``milan.3``."""
    return f"{site}.{generation}"


def new_server_key() -> bytes:
    """PEM, as ``openvpn --genkey tls-crypt-v2-server`` makes it."""
    return _pem(_SERVER, secrets.token_bytes(_SERVER_BYTES))


def new_client_key(server_key: bytes, metadata: str) -> bytes:
    """A key wrapped under the server's, PEM, as ``openvpn --genkey tls-crypt-v2-client`` makes it.

    :raises ValueError: the server's key is damaged.
    """
    cipher_key, hmac_key = _halves(server_key)
    key = secrets.token_bytes(_CLIENT_BYTES)
    clear = key + _USER + metadata.encode()
    length = (_TAG_BYTES + len(clear) + 2).to_bytes(2, "big")
    tag = hmac.digest(hmac_key, length + clear, "sha256")
    return _pem(_CLIENT, key + tag + _ctr(cipher_key, tag, clear) + length)


def metadata_of(server_key: bytes, client_key: bytes) -> str | None:
    """What a branch's key says of itself; None: it isn't wrapped under this server's key, or damaged.

    :raises ValueError: the server's key is damaged.
    """
    cipher_key, hmac_key = _halves(server_key)
    try:
        content = _content(_CLIENT, client_key)
    except ValueError:
        return None
    key, wrapped = content[:_CLIENT_BYTES], content[_CLIENT_BYTES:]
    if len(wrapped) < _TAG_BYTES + _CLIENT_BYTES + 3 or int.from_bytes(wrapped[-2:], "big") != len(wrapped):
        return None
    tag, length = wrapped[:_TAG_BYTES], wrapped[-2:]
    clear = _ctr(cipher_key, tag, wrapped[_TAG_BYTES:-2])
    right = hmac.compare_digest(hmac.digest(hmac_key, length + clear, "sha256"), tag)
    if not right or clear[:_CLIENT_BYTES] != key or clear[_CLIENT_BYTES : _CLIENT_BYTES + 1] != _USER:
        return None
    return clear[_CLIENT_BYTES + 1 :].decode(errors="replace")


def relay_key(client_key: bytes) -> bytes:
    """What signs a branch's paths (:mod:`appliance.failover.relay`): 32 octets that follow from its own key, so that nothing more has to travel.

    :raises ValueError: it is no branch's key.
    """
    own = _content(_CLIENT, client_key)[:_CLIENT_BYTES]
    return hashlib.blake2b(own, digest_size=32, person=b"key of a relay").digest()


def is_client_key(pem: bytes) -> bool:
    """Whether it looks like a branch's key; only the server can tell whether it is one of its own."""
    try:
        content = _content(_CLIENT, pem)
    except ValueError:
        return False
    wrapped = content[_CLIENT_BYTES:]
    return len(wrapped) > _TAG_BYTES + _CLIENT_BYTES + 2 and int.from_bytes(wrapped[-2:], "big") == len(wrapped)


def is_server_key(pem: bytes) -> bool:
    """Whether it is whole."""
    try:
        _halves(pem)
    except ValueError:
        return False
    return True


def _halves(pem: bytes) -> tuple[bytes, bytes]:
    """Key of the cipher, key of the HMAC: the first 256 bits of each of its two keys of 512."""
    content = _content(_SERVER, pem)
    if len(content) != _SERVER_BYTES:
        raise ValueError
    return content[:32], content[64:96]


def _ctr(key: bytes, tag: bytes, text: bytes) -> bytes:
    step = Cipher(AES256(key), CTR(tag[:16])).encryptor()
    return step.update(text) + step.finalize()


def _pem(label: str, content: bytes) -> bytes:
    text = base64.b64encode(content).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _content(label: str, pem: bytes) -> bytes:
    found = re.fullmatch(rb"\s*-----BEGIN " + label.encode() + rb"-----\s+([A-Za-z0-9+/=\s]+)-----END "
                         + label.encode() + rb"-----\s*", pem)  # fmt: skip
    try:
        return base64.b64decode(b"".join(found[1].split()), validate=True) if found else _no_key()
    except binascii.Error:
        return _no_key()


def _no_key() -> bytes:
    raise ValueError
