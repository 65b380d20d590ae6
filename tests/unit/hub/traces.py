"""What a trace must show: a hub that followed every event, and one that began anywhere from a snapshot, see the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.core.document import Document
from appliance.engine.ami_messages import Message
from appliance.hub.directory import Directory, directory
from appliance.hub.live import Live, Snapshot
from tests.hil.company import rows
from tests.hil.system import objects

FILE = Path(__file__).parents[2] / "data" / "hub" / "trace.json.gz"
SETTLED_MS = 250
"""Milliseconds without any event after which events and snapshot must tell the same."""
BRANCH: list[tuple[str, dict[str, Any]]] = [
    ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard", "emergency_number": "+390200000200",
              "links": [{"to": "hq", "max_calls": 2}]}),
    ("extension", {"id": "ext-206", "number": "206", "label": "Desk 206", "site": "branch"}),
    ("ring_group", {"id": "late", "name": "Late", "number": "401", "site": "hq", "members": [
        {"extension": "ext-202"}, {"extension": "ext-203", "delay_seconds": 1}, {"extension": "ext-206"}]}),
]  # fmt: skip
"""What the company of the trace has besides the usual."""

Trace = Sequence[Sequence[Any]]
State = dict[str, dict[str, Mapping[str, Any]]]


def company_directory() -> Directory:
    """The directory of the company that the trace was recorded in."""
    return directory(Document.of(objects(rows(more=BRANCH))), 1)


def read(file: Path = FILE) -> Trace:
    """The trace of a file."""
    with gzip.open(file, "rt") as text:
        found: Trace = json.load(text)
    return found


def write(trace: Trace, file: Path) -> None:
    """Keep a trace."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(json.dumps(trace, separators=(",", ":"), ensure_ascii=False).encode(), mtime=0))


def message(lines: Sequence[Sequence[str]]) -> Message:
    return Message(tuple((key, value) for key, value in lines))


def snapshot(item: Sequence[Any]) -> Snapshot:
    return Snapshot(**{part: tuple(message(lines) for lines in found) for part, found in item[2].items()})


def snapshots(trace: Trace) -> list[int]:
    """Indices of the snapshots."""
    return [index for index, item in enumerate(trace) if item[0] == "snapshot"]


def settled(trace: Trace) -> list[int]:
    """Indices of snapshots at which nothing was under way."""
    found = []
    for index in snapshots(trace):
        first = trace[index][3]
        told = [item for item in trace[:first] if item[0] != "snapshot"]
        during = [item for item in trace[first:index] if item[0] != "snapshot"]
        after = next((item for item in trace[index:] if item[0] != "snapshot"), None)
        calm = not told or trace[index][1] - told[-1][1] > SETTLED_MS
        if calm and not during and (after is None or after[1] - trace[index][1] > SETTLED_MS):
            found.append(index)
    return found


def follow(live: Live, trace: Trace, begin: int) -> Iterator[int]:
    """Feed everything from ``begin`` on but the snapshots; stops before each of those: its index."""
    for index in range(begin, len(trace)):
        kind, time, *rest = trace[index]
        if kind == "snapshot":
            yield index
        elif kind == "event":
            live.feed(message(rest[0]), time)
        else:
            live.learn(message(rest[0]))
    yield len(trace)


def state(live: Live) -> State:
    live.questions.clear()
    live.changes()
    return live.state()


def begun(item: Sequence[Any], memory: Mapping[str, int]) -> Live:
    """A hub that begins with a snapshot, and remembers what another one knew."""
    live = Live(company_directory())
    live.recall(memory)
    live.load(snapshot(item))
    return live


def followed(trace: Trace) -> dict[int, tuple[State, dict[str, int]]]:
    """State and memory at each snapshot of a hub that has followed from the beginning."""
    live = begun(trace[snapshots(trace)[0]], {})
    found = {}
    for index in follow(live, trace, trace[snapshots(trace)[0]][3]):
        found[index] = (state(live), live.memory())
    return found


def differences(one: State, other: State) -> list[str]:
    """What differs, in words for a failed test."""
    return [
        f"{room}/{id}: {one[room].get(id)} – {other[room].get(id)}"
        for room in one
        for id in sorted(one[room].keys() | other[room].keys())
        if one[room].get(id) != other[room].get(id)
    ]
