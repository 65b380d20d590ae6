"""The document's destinations as a graph (pure): who sends calls where, and what is wrong with it.

Nodes are the objects that send calls on, the objects that they are sent to, and the ends where calls leave or stop. Which
kinds these are is found from their models (:mod:`appliance.pbx.flow.ports`). Three things are known of routing itself: an
inbound route is asked before the number's own destination, a call to an outside number that is ours comes back in, and lines bring
calls from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, Self

from appliance.core.document import Document
from appliance.core.model import Object
from appliance.pbx.flow.ports import Port, leads_to, ports, sends
from appliance.pbx.routing.model import Did, InboundRoute, Onward, ToNumber

Key = tuple[str, str]
"""Kind and id of a node."""
Fields = Callable[[Object], frozenset[str]]
"""The fields of an object that may be seen; none: it isn't there."""
END: Final = "to:"
"""Begins the kind of an end; its destination's type follows."""


class Mark(StrEnum):
    """What is to be noticed about a node."""

    MISSING = "missing"  # something leads there, and it isn't there, or not to be seen
    LOOP = "loop"  # calls may come back here again and again
    UNREACHED = "unreached"  # no call gets here
    DEAD_END = "dead_end"  # calls end here although they could be sent on


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the picture.

    :param item: the object; None: it is missing, or the node is none.
    :param end: a destination that leads to no object.
    :param ports: destination fields of the object that may be seen.
    :param bundled: nodes that this one stands for.
    """

    kind: str
    id: str
    item: Object | None = None
    end: Onward | None = None
    ports: tuple[Port, ...] = ()
    marks: frozenset[Mark] = frozenset()
    bundled: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        return self.kind, self.id


@dataclass(frozen=True, slots=True)
class Edge:
    """A way that calls take.

    :param why: ``port``: a destination field says so; ``rule``: an inbound route is asked; ``arrival``: calls come in there.
    :param port: the path of the destination field.
    :param loop: calls may go round over it.
    """

    source: Key
    target: Key
    why: Literal["port", "rule", "arrival"]
    port: str = ""
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, in an order that means something to people, and the edges between them."""

    nodes: Mapping[Key, Node]
    edges: tuple[Edge, ...]
    after: Mapping[Key, tuple[Edge, ...]] = field(default_factory=dict, repr=False)
    before: Mapping[Key, tuple[Edge, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, nodes: Iterable[Node], edges: Iterable[Edge]) -> Self:
        """A graph of these nodes, and of the edges between them."""
        known = {node.key: node for node in nodes}
        kept = tuple(edge for edge in edges if edge.source in known and edge.target in known)
        after: dict[Key, list[Edge]] = {}
        before: dict[Key, list[Edge]] = {}
        for edge in kept:
            after.setdefault(edge.source, []).append(edge)
            before.setdefault(edge.target, []).append(edge)
        return cls(known, kept, {k: tuple(v) for k, v in after.items()}, {k: tuple(v) for k, v in before.items()})

    def reached(self, start: Iterable[Key], *, back: bool = False) -> dict[Key, None]:
        """Everything that calls get to from some nodes, these included; ``back``: where they come from."""
        found = dict.fromkeys(key for key in start if key in self.nodes)
        waiting = list(found)
        for key in waiting:  # it grows meanwhile
            for edge in (self.before if back else self.after).get(key, ()):
                other = edge.source if back else edge.target
                if other not in found:
                    found[other] = None
                    waiting.append(other)
        return found


def everything(item: Object) -> frozenset[str]:
    """All fields: for who may see all."""
    return frozenset(type(item).model_fields)


def flow(document: Document, fields: Fields = everything, *, whole: bool = True) -> Graph:
    """The graph of a document, as far as it may be seen.

    :param whole: nothing that sends calls is hidden: only then is it told what no call reaches.
    """
    maker = _Maker(document, fields)
    for item in document:
        if sends(type(item)) and fields(item):
            maker.add(item)
    return _marked(Graph.of(maker.nodes.values(), [*maker.edges, *maker.rules()]), whole=whole)


def routes_of(document: Document, number: str, fields: Fields = everything) -> list[InboundRoute]:
    """The inbound routes that are asked about calls to a number, in order."""
    return [route for route in _asked(document, fields) if number.startswith(route.called)]


def _asked(document: Document, fields: Fields) -> list[InboundRoute]:
    """All inbound routes in the order in which they are asked, as far as it can be seen."""
    routes = (route for route in document.all(InboundRoute).values() if {"called", "order"} <= fields(route))
    return sorted(routes, key=lambda route: (route.order, route.id))


class _Maker:
    def __init__(self, document: Document, fields: Fields) -> None:
        self._document, self._fields = document, fields
        self._dids = {did.number: did for did in document.all(Did).values() if "number" in fields(did)}
        self.nodes: dict[Key, Node] = {}
        self.edges: list[Edge] = []

    def add(self, item: Object) -> None:
        """An object, and where it sends calls."""
        seen = self._fields(item)
        known = tuple(port for port in ports(item) if port.field in seen)
        dead = any(port.destination is None for port in known)
        marks = frozenset({Mark.DEAD_END}) if dead else frozenset()
        self.nodes[item.kind, item.id] = Node(item.kind, item.id, item, ports=known, marks=marks)
        for port in known:
            if port.destination is not None:
                self.edges.append(Edge((item.kind, item.id), self.target(port.destination), "port", port.path))

    def target(self, destination: Onward) -> Key:
        """The node that a destination leads to, made when it is the first to do so."""
        if isinstance(destination, ToNumber) and destination.number in self._dids:
            return Did.kind, self._dids[destination.number].id
        found = leads_to(destination)
        if found is None:
            node = end_of(destination)
            self.nodes.setdefault(node.key, node)
            return node.key
        kinds, id = found
        for kind in kinds:
            item = self._document.objects.get(kind, {}).get(id)
            if item is not None and self._fields(item):
                if not sends(type(item)):
                    self.nodes.setdefault((kind, id), Node(kind, id, item))
                return kind, id
        key = kinds[0], id
        self.nodes.setdefault(key, Node(*key, marks=frozenset({Mark.MISSING})))
        return key

    def rules(self) -> Iterator[Edge]:
        """Numbers to the inbound routes that are asked about their calls."""
        routes = _asked(self._document, self._fields)
        for number, did in self._dids.items():
            for route in routes:
                if number.startswith(route.called):
                    yield Edge((Did.kind, did.id), (InboundRoute.kind, route.id), "rule")


def end_of(destination: Onward) -> Node:
    """The node of a destination that leads to no object: the same for all that say the same."""
    values = destination.model_dump(mode="json", exclude={"type"})
    return Node(END + destination.type, " ".join(map(str, values.values())), end=destination)


def _marked(graph: Graph, *, whole: bool) -> Graph:
    """With what the graph as a whole shows: loops, and what no call reaches."""
    rings = {key: number for number, ring in enumerate(loops(graph)) for key in ring}
    entries = [key for key, node in graph.nodes.items() if _is_entry(node)]
    reached = graph.reached(entries)
    nodes = []
    for key, node in graph.nodes.items():
        marks = set(node.marks)
        if key in rings:
            marks.add(Mark.LOOP)
        if whole and node.ports and key not in reached:
            marks.add(Mark.UNREACHED)
        nodes.append(replace(node, marks=frozenset(marks)))
    edges = (
        replace(edge, loop=edge.source in rings and rings[edge.source] == rings.get(edge.target))
        for edge in graph.edges
    )
    return Graph.of(nodes, edges)


def _is_entry(node: Node) -> bool:
    """Whether calls begin there: from outside, or by its own number from inside."""
    return node.kind in (Did.kind, InboundRoute.kind) or getattr(node.item, "number", None) is not None


def loops(graph: Graph) -> list[tuple[Key, ...]]:
    """Nodes that calls may go round between: strongly connected parts with an edge inside (Tarjan 1972, without recursion)."""
    index: dict[Key, int] = {}
    low: dict[Key, int] = {}
    on_stack: dict[Key, None] = {}
    found: list[tuple[Key, ...]] = []
    for start in graph.nodes:
        walk: list[tuple[Key, Iterator[Edge]]] = []
        _enter(graph, start, index, low, on_stack, walk)
        while walk:
            key, edges = walk[-1]
            edge = next(edges, None)
            if edge is None:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[key])
                if low[key] == index[key]:
                    ring = _popped(on_stack, key)
                    if len(ring) > 1 or any(edge.target == key for edge in graph.after.get(key, ())):
                        found.append(ring)
            elif edge.target not in index:
                _enter(graph, edge.target, index, low, on_stack, walk)
            elif edge.target in on_stack:
                low[key] = min(low[key], index[edge.target])
    return found


def _enter(
    graph: Graph,
    key: Key,
    index: dict[Key, int],
    low: dict[Key, int],
    on_stack: dict[Key, None],
    walk: list[tuple[Key, Iterator[Edge]]],
) -> None:
    if key not in index:
        index[key] = low[key] = len(index)
        on_stack[key] = None
        walk.append((key, iter(graph.after.get(key, ()))))


def _popped(on_stack: dict[Key, None], key: Key) -> tuple[Key, ...]:
    ring = []
    while True:
        last, _none = on_stack.popitem()
        ring.append(last)
        if last == key:
            return tuple(reversed(ring))
