"""What travels between a new edge and the gate: HTTP/1.1 within TLS 1.3, bodies in JSON (pure).

``GET /authority``
    :class:`Authority`: root and chain, by which the edge knows the gate (see :mod:`.proof`) before it says anything else.
``POST /enrol``
    :class:`Request` → 200 :class:`Answer`. 403: the secret opens nothing: it is wrong, was used, has run out or was withdrawn; nobody is told
    which. 422 :class:`Trouble`: the secret is right, and the centre can't. 429: others are being served. 400: no such request.

On one connection, in this order. Times: the whole of it takes 30 s at most.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from appliance.core.errors import CorruptError

AUTHORITY: Final = "/authority"
ENROL: Final = "/enrol"
REQUEST_MAX: Final = 20 * 1024
"""Octets of a request's body: a CSR has about 600, and 16,384 at most."""
ANSWER_MAX: Final = 4 * 1024 * 1024
"""Octets of an answer's body: the slice of a site that reaches five hundred others is the most of it."""
TALK_S: Final = 30.0
"""One connection, from the handshake on."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificates in PEM: of the root, and of the gate with the intermediate."""

    root: bytes
    chain: bytes

    def body(self) -> bytes:
        return _body(root=self.root, chain=self.chain)

    @classmethod
    def read(cls, body: bytes) -> Authority:
        """:raises CorruptError: ``gate_garbled``."""
        plain = _plain(body)
        return cls(_octets(plain, "root"), _octets(plain, "chain"))


@dataclass(frozen=True, slots=True)
class Request:
    """The secret of an invitation, a CSR (PEM), and the formats of slices that the edge reads."""

    secret: str
    csr: bytes
    formats: tuple[int, ...]

    def __repr__(self) -> str:
        return "<Request>"

    def body(self) -> bytes:
        formats = " ".join(map(str, self.formats)).encode()
        return _body(secret=self.secret.encode(), csr=self.csr, formats=formats)

    @classmethod
    def read(cls, body: bytes) -> Request:
        """:raises CorruptError: ``gate_garbled``."""
        plain = _plain(body)
        formats = _octets(plain, "formats").decode(errors="replace").split()
        if not all(each.isascii() and each.isdigit() and len(each) < 5 for each in formats):
            raise _garbled()
        secret = _octets(plain, "secret").decode(errors="replace")
        return cls(secret, _octets(plain, "csr"), tuple(map(int, formats)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What an edge is given; see :class:`appliance.vpn.pki.Granted`.

    :param slice: the signed part of the document that concerns its site.
    :param at: the centre's time, to be believed as far as the connection is.
    """

    site: str
    chain: bytes
    root: bytes
    tls_crypt_key: bytes
    slice: bytes
    at: datetime

    def __repr__(self) -> str:
        return f"<Answer {self.site}>"

    def body(self) -> bytes:
        sealed = base64.b64encode(self.slice)
        at = str(int(self.at.timestamp())).encode()
        return _body(
            site=self.site.encode(),
            chain=self.chain,
            root=self.root,
            tls_crypt_key=self.tls_crypt_key,
            slice=sealed,
            at=at,
        )

    @classmethod
    def read(cls, body: bytes) -> Answer:
        """:raises CorruptError: ``gate_garbled``."""
        plain = _plain(body)
        try:
            sealed = base64.b64decode(_octets(plain, "slice"), validate=True)
            at = datetime.fromtimestamp(int(_octets(plain, "at")), UTC)
        except (binascii.Error, ValueError, OverflowError, OSError):
            raise _garbled() from None
        site = _octets(plain, "site").decode(errors="replace")
        chain, root, key = (_octets(plain, name) for name in ("chain", "root", "tls_crypt_key"))
        return cls(site, chain, root, key, sealed, at)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the centre can't, for people."""

    error_id: str
    message: str
    hint: str

    def body(self) -> bytes:
        return _body(error_id=self.error_id.encode(), message=self.message.encode(), hint=self.hint.encode())

    @classmethod
    def read(cls, body: bytes) -> Trouble:
        """:raises CorruptError: ``gate_garbled``."""
        plain = _plain(body)
        found = [_octets(plain, name).decode(errors="replace")[:500] for name in ("error_id", "message", "hint")]
        return cls(*found)


def _body(**fields: bytes) -> bytes:
    return json.dumps({name: value.decode(errors="replace") for name, value in fields.items()}).encode()


def _plain(body: bytes) -> Mapping[str, Any]:
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        raise _garbled() from None
    if not isinstance(plain, dict):
        raise _garbled()
    return plain


def _octets(plain: Mapping[str, Any], name: str) -> bytes:
    found = plain.get(name)
    if not isinstance(found, str):
        raise _garbled()
    return found.encode(errors="replace")


def _garbled() -> CorruptError:
    return CorruptError(
        "what came over the gate can't be read", "is it a centre of this system?", error_id="gate_garbled"
    )
