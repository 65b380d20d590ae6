"""Names of the dialplan's contexts: whatever ids the document's objects have, no two contexts share a name."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.asterisk import parse as read
from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.plan import desired

HOSTILE = (
    "ring", "late", "late-ring", "begin", "member", "call", "rest", "ended", "device", "trunk", "inside", "outside",
    "room", "way", "line", "numbers", "s", "h", "t", "general", "globals", "it", "echo", "from-device", "x-ring", "0",
)  # fmt: skip
"""Ids made of the words that contexts of ours are named by."""
IDS = st.sampled_from(HOSTILE) | st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
CONTEXTS = ("group", "emergency", "route", "leg", "carry", "sos", "class", "inbound")


def document(ids: list[str]) -> Document:
    """One object of every kind that has contexts of its own for each id."""
    hangup = {"type": "hangup"}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "c", "name": "C"}),
        ("number_plan", {"id": "p", "name": "P", "ranges": [{"first": "200", "last": "299"}]}),
        ("provider", {"id": "p", "name": "P"}),
        ("extension", {"id": "e", "number": "200", "site": ids[0]}),
    ]
    for id in ids:
        trunk = {"provider": "p", "host": "192.0.2.1", "auth": {"type": "address"}}
        rows += [
            ("site", {"id": id, "name": "S", "company": "c", "trunks": [id]}),
            ("class_of_service", {"id": id, "name": "C"}),
            ("trunk", {"id": id, "name": "T", **trunk}),
            ("ring_group", {"id": id, "name": "G", "site": id, "members": [{"extension": "e"}]}),
            ("inbound_route", {"id": id, "name": "R", "order": 1, "destination": hangup}),
        ]
    return Document.of(parse(KINDS, kind, data) for kind, data in rows)


def contexts(ids: list[str]) -> list[str]:
    return [section.name for section in read(desired(document(ids), Installation("token"))["extensions.conf"].text)]


@given(st.lists(IDS, min_size=1, max_size=3, unique=True))
def test_no_id_makes_two_contexts_of_one_name(ids: list[str]) -> None:
    names = contexts(ids)
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_every_hostile_id_has_its_own_contexts() -> None:
    of_ids = Counter(
        name.partition(".")[0] for name in contexts(list(HOSTILE)) if re.fullmatch(r"[a-z-]+\.[^.]+", name)
    )
    assert of_ids == dict.fromkeys(CONTEXTS, len(HOSTILE))
