"""Calls that would go round for ever: found by walking the document's destinations, before anything is applied.

Nodes are the objects that send a call on: ring groups (nobody answered), DIDs, inbound routes. Forwards that phones set
are not in the document: those loops are stopped at call time, by the counter of ``destinations.hop``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.groups.model import RingGroup
from appliance.pbx.routing.model import Destination, Did, InboundRoute, ToNumber, ToRingGroup

Node = tuple[str, str]
"""Kind and id of an object."""

_FIELD = {RingGroup.kind: "no_answer", Did.kind: "destination", InboundRoute.kind: "destination"}


def loops(document: Document) -> Iterator[Fault]:
    """One fault for each cycle, at the first of its objects in order of kind and id."""
    for cycle in cycles(_edges(document)):
        kind, id = cycle[0]
        around = " → ".join(f"{kind}/{id}" for kind, id in (*cycle, cycle[0]))
        fields = " or ".join(f"{kind}/{id}/{_FIELD[kind]}" for kind, id in cycle)
        yield Fault(
            f"{kind}/{id}/{_FIELD[kind]}",
            f"calls would go round for ever: {around}",
            f"send them somewhere else in {fields}",
            "routing_loop",
        )


def _edges(document: Document) -> dict[Node, tuple[Node, ...]]:
    """Where each object may send a call next. A number of ours is looked at by the inbound routes that fit it first."""
    routes = document.all(InboundRoute).values()
    dids = {did.number: did for did in document.all(Did).values()}
    entry: dict[str, tuple[Node, ...]] = {}

    def arriving(number: str) -> tuple[Node, ...]:
        if number not in dids:
            return ()
        if number not in entry:
            fitting = [(route.kind, route.id) for route in routes if number.startswith(route.called)]
            entry[number] = (*fitting, (Did.kind, dids[number].id))
        return entry[number]

    def following(destination: Destination | None) -> tuple[Node, ...]:
        match destination:
            case ToRingGroup(ring_group=id):
                return ((RingGroup.kind, id),)
            case ToNumber(number=number):
                return arriving(number)
        return ()

    edges = {(group.kind, group.id): following(group.no_answer) for group in document.all(RingGroup).values()}
    edges |= {(did.kind, did.id): following(did.destination) for did in document.all(Did).values()}
    edges |= {(route.kind, route.id): following(route.destination) for route in routes}
    return edges


def cycles(edges: Mapping[Node, tuple[Node, ...]]) -> list[tuple[Node, ...]]:
    """The cycles that a depth-first walk closes, each once, beginning with its smallest node, in order.

    Where every object has one way on these are all there are. Where several share objects, mending those that are
    told brings the others to light.
    """
    found: set[tuple[Node, ...]] = set()
    done: set[Node] = set()
    for start in sorted(edges):
        path: list[Node] = []
        on_path: dict[Node, int] = {}
        stack: list[Iterator[Node]] = [iter((start,))]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                if path:
                    done.add(path[-1])
                    del on_path[path.pop()]
            elif node in on_path:
                cycle = path[on_path[node] :]
                first = cycle.index(min(cycle))
                found.add((*cycle[first:], *cycle[:first]))
            elif node not in done and node in edges:
                on_path[node] = len(path)
                path.append(node)
                stack.append(iter(edges[node]))
    return sorted(found)
