"""Rooms: what each may see, resuming, and that a delta is made into text once."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.rooms import ROOMS, Entry, Rooms
from appliance.hub.subject import Message, Subject, everything

ALL = frozenset(ROOMS)
OPERATOR = Subject("operator")
OWN = Subject("own", ("site", "hq"), frozenset({"a"}))


def by_site(subject: Subject, message: Message) -> Message | None:
    """Who has a site sees that site's extensions without their names, and no calls but own ones."""
    if subject.view is None or message.room == "me":
        return message
    if message.type == "extension" and message.data["site"] == "hq":
        return message.with_data({key: value for key, value in message.data.items() if key != "name"})
    return None


def extension(id: str, site: str = "hq", state: str = "idle") -> dict[str, Any]:
    return {"id": id, "site": site, "name": f"Desk {id}", "state": state}


def call(id: str, *extensions: str) -> dict[str, Any]:
    return {"id": id, "parties": [{"extension": each} for each in extensions]}


def told(rooms: Rooms, subject: Subject, *entries: Entry | None) -> list[tuple[str, str, Any]]:
    payload = rooms.batch([entry for entry in entries if entry]).frame(subject, ALL)
    return [(item["type"], item["room"], item["data"]) for item in json.loads(payload or b"[]")]


def test_each_is_told_what_it_may_see() -> None:
    rooms = Rooms("run", by_site)
    one, other = rooms.put("extension", "a", extension("a")), rooms.put("extension", "b", extension("b", "branch"))
    part = {"id": "a", "site": "hq", "state": "idle"}
    assert told(rooms, OPERATOR, one, other) == [
        ("extension", "extensions", extension("a")), ("extension", "extensions", extension("b", "branch"))
    ]  # fmt: skip
    assert told(rooms, OWN, one, other) == [("extension", "extensions", part), ("extension", "me", extension("a"))]
    assert json.loads(rooms.snapshot(OWN, "extensions"))["data"] == {"extension": [part]}
    assert json.loads(rooms.snapshot(OWN, "me"))["data"] == {"extension": [extension("a")]}
    assert json.loads(rooms.snapshot(OWN, "calls"))["data"] == {}


def test_what_may_not_be_seen_any_more_is_gone() -> None:
    rooms = Rooms("run", by_site)
    rooms.put("extension", "b", extension("b"))
    moved = rooms.put("extension", "b", extension("b", "branch"))
    assert told(rooms, OWN, moved) == [("extension_gone", "extensions", {"id": "b"})]
    assert told(rooms, OPERATOR, moved) == [("extension", "extensions", {"id": "b", "site": "branch"})]
    back = rooms.put("extension", "b", extension("b"))
    assert told(rooms, OWN, back) == [("extension", "extensions", {"id": "b", "site": "hq", "state": "idle"})]


def test_of_what_was_known_only_the_changes_are_told() -> None:
    rooms = Rooms("run", by_site)
    rooms.put("extension", "a", extension("a"))
    busy = rooms.put("extension", "a", extension("a", state="busy"))
    assert told(rooms, OPERATOR, busy) == [("extension", "extensions", {"id": "a", "state": "busy"})]
    renamed = rooms.put("extension", "a", {**extension("a", state="busy"), "name": "Warehouse"})
    assert told(rooms, OWN, renamed) == [("extension", "me", {"id": "a", "name": "Warehouse"})], "names are not for it"


def test_a_call_is_one_s_own_as_long_as_one_takes_part() -> None:
    rooms = Rooms("run", by_site)
    assert told(rooms, OWN, rooms.put("call", "1", call("1", "a", "b"))) == [("call", "me", call("1", "a", "b"))]
    assert told(rooms, OWN, rooms.put("call", "1", call("1", "c", "b"))) == [("call_gone", "me", {"id": "1"})]
    assert told(rooms, OWN, rooms.put("call", "1", None)) == []


def test_no_change_no_message() -> None:
    rooms = Rooms("run", everything)
    assert rooms.put("call", "1", call("1", "a")) is not None
    assert rooms.put("call", "1", call("1", "a")) is None
    assert rooms.put("call", "2", None) is None


def test_a_delta_is_made_into_text_once_for_all(monkeypatch: Any) -> None:
    rooms = Rooms("run", everything)
    entry = rooms.put("extension", "a", extension("a"))
    assert entry is not None
    batch = rooms.batch([entry])
    made = []
    monkeypatch.setattr("appliance.hub.rooms.text", lambda *args: made.append(args) or "{}")
    frames = {id(batch.frame(Subject(f"user {n}", n % 3), ALL)) for n in range(1000)}
    assert len(made) == 1
    assert len(frames) == 3, "equal views share even the bytes"


puts = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.builds(extension, st.just("a"), st.sampled_from(["hq", "branch"]), st.sampled_from(["idle", "busy"]))),
    max_size=30,
)  # fmt: skip


@given(puts=puts, since=st.integers(0, 30), subject=st.sampled_from([OPERATOR, OWN]), ring=st.integers(1, 40))
def test_resuming_gives_what_a_snapshot_would(
    puts: list[tuple[str, dict[str, Any] | None]], since: int, subject: Subject, ring: int
) -> None:
    rooms = Rooms("run", by_site, ring)
    mirror: dict[str, Any] = {}
    for index, (id, data) in enumerate(puts):
        if index == since:
            mirror = {item["id"]: item for item in json.loads(rooms.snapshot(subject, "extensions"))["data"].get("extension", ())}  # fmt: skip
            seq = rooms.seq
        rooms.put("extension", id, data and {**data, "id": id})
    if since >= len(puts):
        return
    missed = rooms.missed(subject, ["extensions"], rooms.epoch(subject), seq)
    if missed is None:
        assert rooms.seq - seq > ring
        return
    for message in map(json.loads, missed):
        if message["type"] == "extension_gone":
            del mirror[message["data"]["id"]]
        else:
            id = message["data"]["id"]
            mirror[id] = mirror.get(id, {}) | message["data"]
    now = {item["id"]: item for item in json.loads(rooms.snapshot(subject, "extensions"))["data"].get("extension", ())}
    assert mirror == now


def test_nothing_is_resumed_that_can_t_be() -> None:
    rooms = Rooms("run", everything)
    for state in ("idle", "busy"):
        rooms.put("extension", "a", extension("a", state=state))
    epoch = rooms.epoch(OPERATOR)
    assert len(rooms.missed(OPERATOR, ["extensions"], epoch, 1) or ()) == 1
    assert rooms.missed(OPERATOR, ["extensions"], epoch, 2) == []
    assert rooms.missed(OPERATOR, ["extensions"], epoch, 3) is None, "a number that was never told"
    assert rooms.missed(OPERATOR, ["extensions"], Rooms("other", everything).epoch(OPERATOR), 1) is None
    assert rooms.missed(OPERATOR, ["extensions"], rooms.epoch(OWN), 1) is None, "of somebody who sees something else"
