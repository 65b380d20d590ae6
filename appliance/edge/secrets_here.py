"""What an edge keeps that nobody else may see, as octets: for who takes them out of what others are shown (:mod:`.redaction`).

Its certificates' keys, of every state and of those that wait; its keys for the tunnel, and what signs its relay's paths. Of a file that is damaged,
all that is no certificate.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.edge.paths import EdgePaths
from appliance.edge.states import IDENTITY, TUNNEL_KEY
from appliance.engine.keeping import in_words
from appliance.i18n import later
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.tls_crypt import relay_key

FILE_MAX: Final = 256 * 1024
FILES_MAX: Final = 64
"""Files of each kind: an edge has two states, and two keys that wait."""
_BLOCK: Final = re.compile(rb"-----BEGIN ([^\n]{1,80}?)-----(.*?)(?:-----END \1-----|\Z)", re.DOTALL)
_CERTIFICATE: Final = b"CERTIFICATE"
Reader = Callable[[bytes], Iterator[bytes]]


def secrets_here(paths: EdgePaths) -> tuple[set[bytes], list[str]]:
    """The secrets; and which files couldn't be looked at, in words."""
    found: set[bytes] = set()
    troubles: list[str] = []
    for file, read in _files(paths):
        try:
            found |= set(read(contents(file)))
        except FileNotFoundError:
            continue
        except OSError as error:
            troubles.append(why(error))
    return found, troubles


def why(error: CentralinoError | OSError) -> str:
    """In words, the reason before the file: behind a name like ``tunnel.key:`` it would be taken for something secret."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}, {error.filename}"
    return in_words(error)


def contents(file: Path, most: int = FILE_MAX, since: int | None = None) -> bytes:
    """So many octets of a file that really is one: its last, or those from a place on. No link is followed, and nothing waited for.

    :raises OSError: it can't be read, or isn't one.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, later("it is no file"), str(file))
        stream.seek(max(0, found.st_size - most) if since is None else since)
        return stream.read(most)


def _files(paths: EdgePaths) -> Iterator[tuple[Path, Reader]]:
    for pattern, read in ((f"[0-9]*/{IDENTITY}", _of_blocks), (f"[0-9]*/{TUNNEL_KEY}", _of_tunnel_key)):
        for file in sorted(paths.states.glob(pattern))[:FILES_MAX]:
            yield file, read
    for file in sorted(paths.pending.glob("*"))[:FILES_MAX]:
        yield file, _of_blocks
    yield paths.run / "openvpn.conf", _of_configuration
    yield paths.relay / "config.json", _of_relay


def _of_blocks(content: bytes) -> Iterator[bytes]:
    """Of a file of keys and certificates."""
    left = content
    for label, body in _BLOCK.findall(content):
        left = b""
        if label != _CERTIFICATE:
            yield from _of_key(b"-----BEGIN %b-----%b-----END %b-----\n" % (label, body, label), body)
    if left:  # garbage, that may have been a key
        yield left.strip()


def _of_key(pem: bytes, body: bytes) -> Iterator[bytes]:
    """The number that nobody may know; the rest of a key's file is public, and stands in its certificate too."""
    key = load_private(pem)
    if key is not None:
        yield key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
        return
    yield body.strip()
    yield from _decoded(body)


def _of_tunnel_key(content: bytes) -> Iterator[bytes]:
    for _label, body in _BLOCK.findall(content):
        yield from _decoded(body)
    yield content.strip()
    try:
        yield relay_key(content)
    except ValueError:
        return


def _of_configuration(content: bytes) -> Iterator[bytes]:
    """OpenVPN's: keys that may be of a state that isn't there any more."""
    for label, body in _BLOCK.findall(content):
        if label != _CERTIFICATE:
            pem = b"-----BEGIN %b-----%b-----END %b-----\n" % (label, body, label)
            yield from _of_key(pem, body) if b"PRIVATE" in label else _of_tunnel_key(pem)


def _of_relay(content: bytes) -> Iterator[bytes]:
    try:
        yield bytes.fromhex(json.loads(content)["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        yield content.strip()


def _decoded(body: bytes) -> Iterator[bytes]:
    try:
        yield base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return
