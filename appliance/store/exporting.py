"""The whole document as one YAML file in canonical form: equal documents give equal bytes.

Objects stand by kind (order of KINDS) and id; fields in the order of their models. Text is written plain only where
every YAML 1.1 and 1.2 reader takes it for the same text, else in double quotes as JSON. What is left out:
:mod:`appliance.store.encode`. Secrets' values are left out unless asked for.
"""

from __future__ import annotations

import base64
import json
import re
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError
from appliance.kinds import KINDS
from appliance.organisation.model import Secret
from appliance.store.encode import plain
from appliance.store.migrations.document import newest_format
from appliance.store.sealing import Keyring, Sealer

OMITTED: Final = "omitted"
BY_KEY: Final = "key:v1:"
BY_PASSPHRASE: Final = "passphrase:v1:"  # noqa: S105 - what the header says, not a passphrase
PASSPHRASE_MIN: Final = 12
_SALT_BYTES: Final = 16

TITLE: Final = "# Centralino configuration document\n"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an export does with secrets' values: ``header`` says so in the file, ``value`` gives what is written."""

    header: str
    value: Callable[[Secret], str | None]

    @classmethod
    def omitted(cls) -> Secrets:
        """Left out. Importing keeps those that are there."""
        return cls(OMITTED, lambda _secret: None)

    @classmethod
    def sealed(cls, keyring: Keyring) -> Secrets:
        """As they are sealed in the store: of use only together with the same key file. Round-trips byte for byte."""
        return cls(BY_KEY + keyring.fingerprint, lambda secret: secret.value)

    @classmethod
    def passphrase(cls, keyring: Keyring, passphrase: str) -> Secrets:
        """Sealed anew under a passphrase: for another machine. The bytes differ each time (fresh salt and nonces).

        Raises InvalidError if the passphrase is shorter than 12 characters.
        """
        if len(passphrase) < PASSPHRASE_MIN:
            hint = f"use at least {PASSPHRASE_MIN} characters: several words, say"
            raise InvalidError([Fault("export/passphrase", "is too short", hint, "passphrase")])
        salt = random.token_bytes(_SALT_BYTES)
        sealer = passphrase_sealer(passphrase, salt)

        def value(secret: Secret) -> str | None:
            return None if secret.value is None else sealer.seal(secret.id, keyring.open(secret.id, secret.value))

        return cls(BY_PASSPHRASE + base64.urlsafe_b64encode(salt).rstrip(b"=").decode(), value)


def passphrase_sealer(passphrase: str, salt: bytes) -> Sealer:
    """The key that a passphrase stands for: scrypt (RFC 7914), N=2^16, r=8, p=1: 64 MiB and about a quarter second."""
    return Sealer(Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(passphrase.encode()))


def export_document(document: Document, secrets: Secrets | None = None) -> str:
    """The canonical YAML text. Raises CorruptError if a secret can't be opened that must be sealed anew."""
    secrets = secrets or Secrets.omitted()
    lines = [f"{TITLE}format: {newest_format()}\nsecrets: {scalar(secrets.header)}"]
    kinds = [kind for kind in KINDS if document.objects.get(kind)]
    lines.append("objects:" if kinds else "objects: {}")
    for kind in kinds:
        lines.append(f"  {kind}:")
        of_kind = document.objects[kind]
        for id in sorted(of_kind):
            item = of_kind[id]
            fields = plain(item)
            del fields["id"]
            if isinstance(item, Secret):
                value = secrets.value(item)
                fields = {} if value is None else {"value": value}
            _entry(lines, "    ", scalar(id), fields)
    lines.append("")
    return "\n".join(lines)


def _entry(lines: list[str], indent: str, name: str, value: Any) -> None:
    """``name: value`` with all that is below it."""
    kind = type(value)
    if kind is str:
        lines.append(f"{indent}{name}: {scalar(value)}")
    elif kind is dict and value:
        lines.append(f"{indent}{name}:")
        for key, inner in value.items():
            _entry(lines, indent + "  ", key, inner)
    elif kind is list and any(type(one) is dict for one in value):
        lines.append(f"{indent}{name}:")
        for one in value:
            _item(lines, indent, one)
    elif kind is list:
        lines.append(f"{indent}{name}: [{', '.join(map(_simple, value))}]")
    else:
        lines.append(f"{indent}{name}: {_simple(value)}")


def _item(lines: list[str], indent: str, fields: dict[str, Any]) -> None:
    """A part in a list: its first field stands behind the dash."""
    if not fields:
        lines.append(f"{indent}- {{}}")
        return
    start = len(lines)
    for key, inner in fields.items():
        _entry(lines, indent + "  ", key, inner)
    lines[start] = f"{indent}- {lines[start][len(indent) + 2 :]}"


def _simple(value: Any) -> str:
    if type(value) is str:
        return scalar(value)
    if value is None or type(value) in {bool, int}:
        return json.dumps(value)
    if value == {}:
        return "{}"
    msg = f"a field of type {type(value).__name__} has no canonical form yet"
    raise TypeError(msg)


_PLAIN: Final = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ][A-Za-zÀ-ÖØ-öø-ÿ0-9._/@'()+-]*(?: [A-Za-zÀ-ÖØ-öø-ÿ0-9._/@'()+&-]+)*")
_RESERVED: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@lru_cache(maxsize=4096)
def scalar(text: str) -> str:
    """Text as it stands in YAML: plain, or double-quoted as JSON with what YAML can't hold escaped."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
