"""Loops between routes, DIDs and ring groups."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.routing.loops import cycles, loops


def group(id: str, no_answer: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    return "ring_group", {"id": id, "name": id, "site": "hq", "members": [{"extension": "e"}], "no_answer": no_answer}


def did(id: str, number: str, destination: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "did", {"id": id, "number": number, "company": "demo", "destination": destination}


def route(id: str, called: str, destination: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "inbound_route", {"id": id, "name": id, "order": 1, "called": called, "destination": destination}


def to_group(id: str) -> dict[str, Any]:
    return {"type": "ring_group", "ring_group": id}


def to_number(number: str) -> dict[str, Any]:
    return {"type": "number", "number": number, "site": "hq"}


def told(*rows: tuple[str, dict[str, Any]]) -> list[tuple[str, str]]:
    document = Document.of(parse(KINDS, kind, fields) for kind, fields in rows)
    return [(fault.path, fault.message.partition(": ")[2]) for fault in loops(document)]


def test_a_group_that_leads_to_itself() -> None:
    assert told(group("a", to_group("a"))) == [("ring_group/a/no_answer", "ring_group/a → ring_group/a")]


def test_each_loop_is_told_once_from_its_first_object() -> None:
    assert told(
        group("c", to_group("a")), group("a", to_group("b")), group("b", to_group("c")),
        group("in", to_group("b")), group("out", {"type": "hangup"}), group("end", None),
        group("x", to_group("y")), group("y", to_group("x")),
    ) == [
        ("ring_group/a/no_answer", "ring_group/a → ring_group/b → ring_group/c → ring_group/a"),
        ("ring_group/x/no_answer", "ring_group/x → ring_group/y → ring_group/x"),
    ]  # fmt: skip


def test_a_number_of_ours_leads_to_its_did_and_the_routes_that_fit_it() -> None:
    ours, other = "+390200000001", "+390200000002"
    assert told(did("d", ours, to_number(ours))) == [("did/d/destination", "did/d → did/d")]
    assert told(did("d", ours, to_number(other))) == []
    assert told(did("d", ours, to_number(other)), did("e", other, to_group("g")), group("g", to_number(ours))) == [
        ("did/d/destination", "did/d → did/e → ring_group/g → did/d")
    ]
    back = route("r", "+3902", to_number(ours))
    assert told(did("d", ours, {"type": "hangup"}), back) == [
        ("inbound_route/r/destination", "inbound_route/r → inbound_route/r")
    ]
    assert told(did("d", ours, {"type": "hangup"}), route("r", "+3906", to_number(ours))) == []


def test_a_chain_of_thousands_is_walked_without_recursion() -> None:
    edges = {("ring_group", f"{n:05}"): (("ring_group", f"{(n + 1) % 20000:05}"),) for n in range(20000)}
    (cycle,) = cycles(edges)
    assert len(cycle) == 20000


_nodes = st.integers(0, 9).map(lambda n: ("did", str(n)))


@given(st.dictionaries(_nodes, st.lists(_nodes, max_size=3).map(tuple)))
def test_cycles_are_cycles_and_none_is_overlooked(edges: dict[tuple[str, str], tuple[tuple[str, str], ...]]) -> None:
    found = cycles(edges)
    assert len(set(found)) == len(found)
    for cycle in found:
        assert cycle[0] == min(cycle)
        assert len(set(cycle)) == len(cycle)
        for one, following in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert following in edges[one]
    # Without one edge of each cycle told, fewer are left: mending what is told comes to an end with none.
    left = dict(edges)
    while again := cycles(left):
        for cycle in again:
            following = cycle[1 % len(cycle)]
            left[cycle[0]] = tuple(node for node in left[cycle[0]] if node != following)
    remaining = {node for node in left if left[node]}
    while leaves := {node for node in remaining if not set(left[node]) & remaining}:
        remaining -= leaves
    assert not remaining
