"""A YAML file in the form of :mod:`appliance.store.exporting`, canonical or written by hand, as a document.

Everything wrong is reported at once, each fault with its path and line. The file is the whole document: objects that
aren't in it are gone from the result. Secrets without a value keep the one that the current document has.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from appliance.core.document import Document, parse
from appliance.core.errors import CorruptError, Fault, InvalidError
from appliance.core.fields import valid_id
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.organisation.model import Secret
from appliance.store.exporting import BY_KEY, BY_PASSPHRASE, OMITTED, passphrase_sealer
from appliance.store.migrations.document import Plain, migrate, newest_format
from appliance.store.sealing import Keyring, Sealer
from appliance.store.yaml_tree import FAULTS_MAX, Map, Sequence, read

SIZE_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file; 5,000 extensions with two devices each take about six million."""


@dataclass(frozen=True, slots=True)
class Imported:
    """``missing_secrets``: ids of secrets that have no value, neither in the file nor before."""

    document: Document
    missing_secrets: tuple[str, ...]


def import_document(
    text: bytes | str, *, current: Document, keyring: Keyring | None = None, passphrase: str | None = None
) -> Imported:
    """Read an export. ``keyring`` is needed for files with secrets, ``passphrase`` for those sealed under one.

    Raises InvalidError with all faults; CorruptError (``too_new``) for a format that this release doesn't know.
    """
    tree = _tree(text)
    format, header, objects = _frame(tree)
    data = migrate(_plain(objects), format) if format != newest_format() else objects
    found, faults = _objects(data, objects)
    opener = _Opener(header, keyring, passphrase, current)
    put: list[Object] = []
    for item in found:
        if not isinstance(item, Secret):
            put.append(item)
            continue
        result = opener.value(item)
        if isinstance(result, Fault):
            faults.append(_with_line(result, objects))
        else:
            put.append(item if result == item.value else item.model_copy(update={"value": result}))
    if faults:
        raise InvalidError(faults[:FAULTS_MAX])
    missing = [item.id for item in put if isinstance(item, Secret) and item.value is None]
    return Imported(Document.of(put), tuple(missing))


def needs_passphrase(text: bytes) -> bool:
    """Whether the secrets in an export are sealed under a passphrase."""
    head = text[:4096].decode("utf-8-sig", "replace")
    return re.search(rf"^secrets:\s*[\"']?{re.escape(BY_PASSPHRASE)}", head, re.MULTILINE) is not None


def _tree(text: bytes | str) -> Map:
    if len(text) > SIZE_MAX:
        raise InvalidError([Fault("file", f"is larger than {SIZE_MAX} bytes", "is it the right file?", "too_large")])
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"is not text in UTF-8 (byte {error.start + 1})"
            raise InvalidError(
                [Fault("file", message, "is it the right file? An export is a text file", "yaml")]
            ) from None
    tree, faults = read(text)
    if not faults and not isinstance(tree, Map):
        faults = [
            Fault("file", "is not a configuration document", "it begins with format:, secrets: and objects:", "yaml")
        ]
    if faults:
        raise InvalidError(faults)
    assert isinstance(tree, Map)  # noqa: S101 - for mypy
    return tree


def _frame(tree: Map) -> tuple[int, str, Map]:
    """Format, what is said of secrets, and the objects. Raises InvalidError, CorruptError."""
    faults = [
        Fault(
            key,
            "doesn't belong here",
            "at the top stand format, secrets and objects",
            "extra_forbidden",
            line=tree.lines[key],
        )
        for key in tree
        if key not in {"format", "secrets", "objects"}
    ]
    format, objects = tree.get("format"), tree.get("objects")
    if not isinstance(format, str) or not re.fullmatch(r"[1-9][0-9]{0,5}", format):
        hint = f"write format: {newest_format()} at the top"
        faults.append(Fault("format", "is missing or not a number", hint, "format", line=tree.lines.get("format")))
        format = str(newest_format())
    header = tree.get("secrets", OMITTED)
    known = isinstance(header, str) and (header == OMITTED or header.startswith((BY_KEY, BY_PASSPHRASE)))
    if not known:
        hint = "write secrets: omitted, or leave the line as it was exported"
        faults.append(Fault("secrets", "is not understood", hint, "secrets", line=tree.lines.get("secrets")))
    if not isinstance(objects, Map):
        hint = "under objects: stand kinds, under these ids, under these fields"
        faults.append(Fault("objects", "is missing or not a mapping", hint, "objects", line=tree.lines.get("objects")))
        objects = Map()
    migrate({}, int(format))  # too new: said before anything else of what is in it
    if faults:
        raise InvalidError(faults)
    return int(format), header, objects


def _plain(objects: Map) -> Plain:
    """Only what has the right shape: what hasn't is reported when the objects are parsed."""
    return {
        kind: {id: dict(fields or {}) if isinstance(fields, dict | None) else fields for id, fields in of_kind.items()}
        for kind, of_kind in objects.items()
        if isinstance(of_kind, dict)
    }


def _objects(data: dict[str, Any], written: Map) -> tuple[list[Object], list[Fault]]:
    found: list[Object] = []
    faults: list[Fault] = []
    for kind, of_kind in data.items():
        if kind not in KINDS:
            hint = f"kinds are {', '.join(KINDS)}"
            faults.append(_with_line(Fault(kind, "is not a kind of object", hint, "unknown_kind"), written))
            continue
        if of_kind is None:
            continue
        if not isinstance(of_kind, dict):
            faults.append(
                _with_line(Fault(kind, "is not a mapping", "write the objects' ids below it", "type"), written)
            )
            continue
        for id, fields in of_kind.items():
            fault = _shape(kind, id, fields)
            if fault is not None:
                line = written[kind].lines.get(id) if isinstance(written.get(kind), Map) else None
                faults.append(replace(fault, line=line))
                continue
            try:
                found.append(parse(KINDS, kind, {"id": id} | (fields or {})))
            except InvalidError as error:
                faults.extend(_with_line(fault, written) for fault in error.faults)
        if len(faults) >= FAULTS_MAX:
            break
    return found, faults


def _shape(kind: str, id: str, fields: Any) -> Fault | None:
    if not valid_id(id):
        hint = "1 to 40 of a-z, 0-9 and inner hyphens"
        return Fault(f"{kind}/{id[:40]}", "is not an id", hint, "id")
    if not isinstance(fields, dict | None):
        return Fault(f"{kind}/{id}", "is not a mapping", "write the object's fields below it", "type")
    if fields and "id" in fields:
        return Fault(f"{kind}/{id}/id", "stands among the fields", "the id is the key above them; leave it out", "id")
    return None


_STEP: Final = re.compile(r"[^.\[\]]+")


def _with_line(fault: Fault, written: Map) -> Fault:
    """The fault with the line of the nearest thing that its path leads to."""
    kind, _, rest = fault.path.partition("/")
    id, _, field = rest.partition("/")
    line, here = None, written
    for step in (kind, id, *_STEP.findall(field)):
        if isinstance(here, Map) and step in here:
            line, here = here.lines[step], here[step]
        elif isinstance(here, Sequence) and step.isdigit() and int(step) < len(here):
            line, here = here.lines[int(step)], here[int(step)]
        else:
            break
    return replace(fault, line=line)


class _Opener:
    """What becomes of the secrets' values in a file."""

    def __init__(self, header: str, keyring: Keyring | None, passphrase: str | None, current: Document) -> None:
        self._header, self._keyring = header, keyring
        self._current = current.all(Secret)
        self._sealer: Sealer | None = None
        if header == OMITTED:
            return
        if keyring is None:
            raise _refused("needs this installation's key to take over secrets", "import it where the key file is")
        if header.startswith(BY_PASSPHRASE):
            self._sealer = _sealer(header, passphrase)
        elif not keyring.knows(header.removeprefix(BY_KEY)):
            raise _refused(
                "holds secrets that are sealed under another installation's key",
                "export it there with a passphrase, or restore the key file it was sealed under",
            )

    def value(self, secret: Secret) -> str | Fault | None:
        """The sealed text to store, None if there is none, or what is wrong with it."""
        before = self._current.get(secret.id)
        if secret.value is None:
            return before.value if before else None
        path = secret.path("value")
        if self._header == OMITTED:
            return Fault(path, "is given, but the file says secrets: omitted", "leave the value out", "secrets")
        assert self._keyring is not None  # noqa: S101 - for mypy
        if self._sealer is None:
            try:
                self._keyring.open(secret.id, secret.value)
            except CorruptError:
                return Fault(
                    path, "can't be opened: changed, or another secret's value", "leave it out, then set it", "bad_key"
                )
            return secret.value
        clear = self._sealer.open(secret.id, secret.value)
        if clear is None:
            hint = "is the passphrase right? Else leave the value out, then set it"
            return Fault(path, "can't be opened with this passphrase", hint, "bad_passphrase")
        if before is not None and before.value is not None and self._same(secret.id, before.value, clear):
            return before.value
        return self._keyring.seal(secret.id, clear)

    def _same(self, id: str, sealed: str, clear: str) -> bool:
        assert self._keyring is not None  # noqa: S101 - for mypy
        try:
            return self._keyring.open(id, sealed) == clear
        except CorruptError:
            return False


def _sealer(header: str, passphrase: str | None) -> Sealer:
    if passphrase is None:
        raise _refused("holds secrets that are sealed under a passphrase", "give the passphrase it was exported with")
    try:
        text = header.removeprefix(BY_PASSPHRASE)
        salt = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        salt = b""
    if len(salt) != 16:
        raise _refused("has a damaged line secrets:", "leave the line as it was exported")
    return passphrase_sealer(passphrase, salt)


def _refused(message: str, hint: str) -> InvalidError:
    return InvalidError([Fault("secrets", message, hint, "secrets")])
