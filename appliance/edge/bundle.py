"""An edge's support bundle: what whoever helps from afar wants to know, in one file (.tar.gz), without any secret.

Each part is told by one function below; what a part can't be made of is said in ``MANIFEST.txt``, and hinders no other. All of it goes through
:mod:`.redaction`; then every part is searched once more for each key that this edge has, and one that holds any is left out.

What happens when…

* the edge was never enrolled, its state or its journal is garbage, or something isn't ours to read: the manifest says so;
* a program hangs (``ip``, ``nft``, ``openvpn``): it is ended after :data:`RUN_S` seconds;
* there is more than :data:`MOST` octets can hold: of each part there is less, and the manifest says so; logs keep their ends.
"""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from appliance.clock import Moment
from appliance.core.errors import CentralinoError
from appliance.edge import bundle_parts as parts
from appliance.edge.bundle_parts import Part
from appliance.edge.paths import EdgePaths
from appliance.edge.redaction import Redaction
from appliance.edge.secrets_here import secrets_here, why

MOST: Final = 4 << 20
"""Octets of a bundle."""
LIMITS: Final = tuple(1 << bits for bits in range(20, 11, -1))
"""Characters of each part: the first of these with which the bundle isn't too large."""
LOG_LIMIT: Final = 256 * 1024
MANIFEST: Final = "MANIFEST.txt"
RUN_S: Final = parts.RUN_S
_HEAD: Final = """\
Support bundle of a Centralino edge, made at {at} by the edge's own clock.
Secrets were taken out of every file ("[removed]"), and every file was searched for the keys of this edge.

"""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    about: str
    text: str
    log: bool = False


def made(paths: EdgePaths, told: Mapping[str, Any], *, now: Moment) -> bytes:
    """The whole file, of :data:`MOST` octets at most. By the edge's owner; it takes some seconds at worst, and fails at nothing.

    :param told: what the agent tells (:meth:`.agent.Agent.told`); empty: it doesn't run.
    """
    secrets, troubles = secrets_here(paths)
    redaction = Redaction(secrets)
    members: list[_Member] = []
    for part in parts.all_of(paths, told, now):
        member = _made(part, redaction, troubles)
        if member is not None:
            members.append(member)
    members = [each for each in members if _clean(each, redaction, troubles)]
    packed = b""
    for limit in LIMITS:
        packed = _packed(members, troubles, redaction, now, limit)
        if len(packed) <= MOST:
            break
    return packed


def _made(part: Part, redaction: Redaction, troubles: list[str]) -> _Member | None:
    """A part in its redacted text; what can't be read is a trouble."""
    try:
        found = part.content()
        text = redaction.text(found) if isinstance(found, str) else _json(found, part, redaction)
        return _Member(redaction.text(part.name), part.about, text, part.log)
    except (CentralinoError, OSError) as error:
        reason = why(error)
    except sqlite3.Error as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 (what one part can't do hinders no other)
        reason = type(error).__name__
    troubles.append(f"{part.name}: {redaction.text(reason)}")
    return None


def _json(found: Any, part: Part, redaction: Redaction) -> str:
    if part.name.endswith(".jsonl"):
        return "".join(redaction.json(each, indent=None) + "\n" for each in found)
    return redaction.json(found) + "\n"


def _clean(member: _Member, redaction: Redaction, troubles: list[str]) -> bool:
    """Whether none of the edge's keys is in it, when all is done."""
    if redaction.holds(member.text) or redaction.holds(member.name):
        troubles.append(f"{redaction.text(member.name)}: left out, for a key of this edge was still in it")
        return False
    return True


def _packed(members: list[_Member], troubles: list[str], redaction: Redaction, now: Moment, limit: int) -> bytes:
    kept: dict[str, str] = {}
    lines: list[str] = []
    for each in sorted(members, key=lambda member: member.name):
        most = min(limit, LOG_LIMIT) if each.log else limit
        kept[each.name] = _within(each, most)
        cut = f" (only {'the end' if each.log else 'the beginning'} of it)" if len(each.text) > most else ""
        lines.append(f"{each.name:<24}  {each.about}{cut}")
    at = datetime.fromtimestamp(now.wall / 1000, UTC).isoformat(timespec="seconds")
    missing = ["", "What couldn't be read, and why:", *(troubles or ["nothing: all there was"])]
    manifest = _HEAD.format(at=at) + "\n".join([*lines, *missing])[:limit] + "\n"
    if redaction.holds(manifest):
        manifest = _HEAD.format(at=at) + "(the list of files was left out, for a key of this edge was still in it)\n"
    return _archive({MANIFEST: manifest, **kept}, now.wall // 1000)


def _within(member: _Member, most: int) -> str:
    """As much of its text as fits, in whole lines where it has any."""
    text = member.text
    if len(text) <= most:
        return text
    if member.log:
        return text[-most:].partition("\n")[2]
    return text[:most]


def _archive(files: Mapping[str, str], at: int) -> bytes:
    """Nobody's files, of one time (s since 1970), in this order."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=at) as squeezed,
        tarfile.open(mode="w", fileobj=squeezed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, text in files.items():
            content = text.encode(errors="replace")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), at, 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
