"""One line of the event spool (pure).

The engine writes RFC 4180 records: every field in quotes, quotes doubled, fields in the order of :data:`FIELDS`. Its
JSON writer isn't used: it escapes quotes but not backslashes, so a caller's name could break out of its field.

A line can still be damaged: torn by a full disk or by the engine's death (the next record then follows on the same
line), or zeroed by a power cut. :func:`parse` refuses such a line and :func:`salvage` finds a whole record at its end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

FIELDS: Final = (
    "EventType", "EventTime", "UniqueID", "LinkedID", "ChanName", "Num", "Name", "ANI", "RDNIS", "Exten", "Context",
    "AccountCode", "Peer", "EventExtra",
)  # fmt: skip
"""Columns of a record. ``EventTime`` is seconds since the epoch (UTC) with six decimals."""

EVENTS: Final = (
    "CHAN_START", "ANSWER", "HANGUP", "BRIDGE_ENTER", "BLINDTRANSFER", "ATTENDEDTRANSFER", "PICKUP", "FORWARD",
    "USER_DEFINED",
)  # fmt: skip
"""Types of event that the engine must record; each one more costs the engine a write per channel."""

LEG_EVENT: Final = "LEG"
"""User event of the hangup handler: how one leg went."""
HANDED_EVENT: Final = "HANDED_ON"
"""User event of a leg whose party is handed on by order of the hub: ``<id of who hands it on>|<id of whom it gets>``."""
RUN_EVENT: Final = "RUN"
"""User event at every start of the engine."""

_FIELD: Final = rb'"([^"\x00]*(?:""[^"\x00]*)*)"'
_RECORD: Final = re.compile(_FIELD + (rb"," + _FIELD) * (len(FIELDS) - 1))
_TYPE: Final = re.compile(r"[\w-]{1,40}", re.ASCII)  # a torn record and the next one may look like one with an odd type
_TIME: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?")
_START: Final = re.compile(rb'"[A-Z_]{3,20}","\d{9,11}\.')


class LineError(ValueError):
    """The line isn't a record; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one channel.

    :param time: microseconds since the epoch, UTC.
    :param channel: its name, ``PJSIP/reception-1-0000002a``.
    :param call: the engine's id of the call that the channel belongs to *now*: joining calls changes it.
    :param number: calling number as it is at this moment; ``name`` likewise.
    :param origin: number of the line that the call began on; of a caller from outside in E.164, empty when withheld.
    :param extra: what the type brings along.
    """

    type: str
    time: int
    id: str
    call: str
    channel: str
    number: str = ""
    name: str = ""
    origin: str = ""
    redirected_by: str = ""
    exten: str = ""
    context: str = ""
    account: str = ""
    peer: str = ""
    extra: dict[str, Any] | None = None

    @property
    def user(self) -> str:
        """The text of a user event."""
        value = (self.extra or {}).get("extra", "")
        return value if isinstance(value, str) else ""


def parse(line: bytes) -> Event:
    """The event of one line (without its line end). LineError when it isn't exactly one record."""
    match = _RECORD.fullmatch(line)
    if match is None:
        raise LineError("not a record of the expected fields")
    type_, time, id_, call, channel, number, name, ani, by, exten, context, account, peer, extra = (
        field.decode("utf-8", "replace").replace('""', '"') for field in match.groups()
    )
    if not _TYPE.fullmatch(type_) or not id_ or not call:
        raise LineError("no type or no id")
    clock = _TIME.fullmatch(time)
    if clock is None:
        raise LineError("no time")
    micros = int(clock[1]) * 1_000_000 + int((clock[2] or "0").ljust(6, "0"))
    return Event(
        type_, micros, id_, call, channel, number, name, ani, by, exten, context, account, peer, _extra(extra)
    )  # fmt: skip


def _extra(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise LineError("the extra field is no JSON") from error
    if not isinstance(value, dict):
        raise LineError("the extra field is no JSON object")
    return value


def salvage(line: bytes) -> tuple[int, Event] | None:
    """A whole record at the end of a damaged line: (where it starts, the event), or None."""
    for match in _START.finditer(line, 1):
        try:
            return match.start(), parse(line[match.start() :])
        except LineError:
            continue
    return None


def text(event_fields: dict[str, str]) -> bytes:
    """A record as the engine writes it, for tests and tools; missing fields are empty."""
    quoted = ('"' + event_fields.get(name, "").replace('"', '""') + '"' for name in FIELDS)
    return ",".join(quoted).encode()
