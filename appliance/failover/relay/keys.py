"""From a site's key to the keys of its messages (pure). All of them are BLAKE2b (RFC 7693) with a key and a purpose of its own.

A site's key comes with its certificate and dies with it. What opens a path is signed by keys made from it directly; a session's packets by keys that both
ends made of it and of a number that the centre drew: packets of former sessions open nothing.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

KEY: Final = 32
"""Octets of a site's key, and of every key here."""
NAME: Final = 8
NONCE: Final = 16
_EPOCH: Final = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """What opens a site's paths.

    :param name: what the key is called in the clear; tells nothing of it.
    :param edge: signs what the edge says.
    :param centre: signs what the centre says: what one has said can't be sent back to it as the other's word.
    """

    name: bytes
    edge: bytes
    centre: bytes

    @classmethod
    def of(cls, key: bytes) -> SiteKeys:
        """:raises ValueError: it hasn't :data:`KEY` octets."""
        if len(key) != KEY:
            msg = f"a site's key has {KEY} octets, not {len(key)}"
            raise ValueError(msg)
        return cls(_derived(key, b"name")[:NAME], _derived(key, b"edge"), _derived(key, b"centre"))


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What signs a session's packets: ``up`` from the edge, ``down`` to it."""

    up: bytes
    down: bytes

    @classmethod
    def of(cls, key: bytes, epoch: int, nonce: bytes) -> SessionKeys:
        """Of a site's key, the edge's number of the session and the centre's."""
        about = _EPOCH.pack(epoch) + nonce
        return cls(_derived(key, b"up" + about), _derived(key, b"down" + about))


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, key=key, digest_size=KEY, person=b"centralino relay").digest()
