"""Records of calls ↔ rows of the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from appliance.history.legs import Quality
from appliance.history.model import Call, Direction, Leg, LegResult, Outcome, Transfer
from appliance.store import history as table
from appliance.store.history import PARTY_MAX

_PLAIN = ("direction", "outcome", "failovers", "started", "rang", "answered", "ended", "ring_ms", "talk_ms", "cause", "incomplete")  # fmt: skip
_TEXT = {
    "linked_id": 80, "run": 80, "from_device": 80, "from_extension": PARTY_MAX, "from_trunk": 80, "from_number": PARTY_MAX,
    "from_name": 200, "dialled": PARTY_MAX, "reached_device": 80, "reached_extension": PARTY_MAX, "reached_trunk": 80,
    "reached_number": PARTY_MAX, "trunk": 80, "from_site": 80, "reached_site": 80,
}  # fmt: skip
_LEG_TEXT = {"device": 80, "trunk": 80, "extension": PARTY_MAX, "number": PARTY_MAX, "codec": 20, "redirected_by": PARTY_MAX, "site": 80}  # fmt: skip
_LEG_PLAIN = ("caller", "started", "answered", "ended", "cause", "sip")
_QUALITY = tuple(Quality.__dataclass_fields__)


def call_row(number: int, call: Call) -> dict[str, Any]:
    """The row of table ``call``. Texts are cut to the columns' widths."""
    row = {name: getattr(call, name) for name in _PLAIN}
    row |= {name: getattr(call, name)[:width] for name, width in _TEXT.items()}
    row["id"] = number
    row["direction"], row["outcome"] = call.direction.value, call.outcome.value
    row["transfers"] = _json([[t.kind, t.time, t.by, t.of, t.to] for t in call.transfers])
    row["forwards"] = _json(call.forwards)
    return row


def leg_rows(number: int, call: Call) -> list[dict[str, Any]]:
    """Rows of table ``leg``."""
    rows = []
    for position, leg in enumerate(call.legs):
        row: dict[str, Any] = {"call": number, "position": position, "result": leg.result.value}
        row |= {name: getattr(leg, name) for name in _LEG_PLAIN}
        row |= {name: getattr(leg, name)[:width] for name, width in _LEG_TEXT.items()}
        row |= {name: getattr(leg.quality, name) if leg.quality else None for name in _QUALITY}
        rows.append(row)
    return rows


def read_leg(row: Row[Any]) -> Leg:
    """A leg from its row."""
    quality = Quality(*(getattr(row, name) for name in _QUALITY)) if row.received is not None else None
    return Leg(
        caller=row.caller,
        device=row.device,
        trunk=row.trunk,
        extension=row.extension,
        number=row.number,
        started=row.started,
        answered=row.answered,
        ended=row.ended,
        result=LegResult(row.result),
        cause=row.cause,
        sip=row.sip,
        codec=row.codec,
        redirected_by=row.redirected_by,
        quality=quality,
        site=row.site,
    )


def read_call(row: Row[Any], legs: tuple[Leg, ...]) -> Call:
    """A call from its row."""
    values = {name: getattr(row, name) for name in (*_TEXT, "failovers", "started", "rang", "answered", "ended", "cause", "incomplete")}  # fmt: skip
    return Call(
        direction=Direction(row.direction),
        outcome=Outcome(row.outcome),
        legs=legs,
        transfers=tuple(Transfer(*fields) for fields in json.loads(row.transfers)),
        forwards=tuple(json.loads(row.forwards)),
        **values,
    )


def load_calls(connection: Connection, ids: Sequence[int]) -> dict[int, Call]:
    """Calls with their legs, by id."""
    if not ids:
        return {}
    query = select(table.leg).where(table.leg.c.call.in_(ids)).order_by(table.leg.c.call, table.leg.c.position)
    legs: dict[int, list[Leg]] = {}
    for row in connection.execute(query):
        legs.setdefault(row.call, []).append(read_leg(row))
    rows = connection.execute(select(table.call).where(table.call.c.id.in_(ids)))
    return {row.id: read_call(row, tuple(legs.get(row.id, ()))) for row in rows}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
