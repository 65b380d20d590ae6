"""Parts of the graph that people look at (pure): what happens to one number, and a whole company that stays readable.

A company with hundreds of public numbers would be a hairball. Its view asks the inbound routes once, before all numbers, and
puts numbers together that lead to the same place, or each to one of its own; what is wrong always stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.core.document import Document
from appliance.pbx.flow.graph import Edge, Fields, Graph, Key, Mark, Node, everything, routes_of
from appliance.pbx.routing.model import Did, InboundRoute
from appliance.pbx.trunks.model import Trunk

OUTSIDE: Final = "outside"
"""Kind of the node where calls from all lines come together."""
CALLED: Final = "called"
"""Kind of a called number that isn't ours; its id is the number."""
NOWHERE: Final = "nowhere"
"""Kind of the end of calls to it."""
LINES_MAX: Final = 6
"""Lines that are drawn one by one."""
SINGLY_MAX: Final = 12
"""Numbers that a company's view draws one by one."""
NODES_MAX: Final = 120
"""Nodes of a view; whoever wants to see others searches."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of the graph; ``left_out``: nodes that belong to it and that it doesn't show."""

    graph: Graph
    left_out: int = 0


def lines(document: Document, fields: Fields = everything) -> list[Node]:
    """The trunks that may be seen; as one node when they are many."""
    found = [Node(Trunk.kind, trunk.id, trunk) for trunk in document.all(Trunk).values() if fields(trunk)]
    if len(found) <= LINES_MAX:
        return found
    return [Node(Trunk.kind, "*", bundled=tuple(node.key for node in found))]


def of_number(graph: Graph, document: Document, number: str, fields: Fields = everything) -> View:
    """What happens to a call to a number (E.164), ours or not."""
    did = next(
        (did for did in document.all(Did).values() if did.number == number and "number" in fields(did)),
        None,
    )
    nodes: dict[Key, Node] = {}
    edges = list(graph.edges)
    if did is None:
        start = CALLED, number
        routes = [(InboundRoute.kind, route.id) for route in routes_of(document, number, fields)]
        nodes[start] = Node(CALLED, number)
        edges += [Edge(start, route, "rule") for route in routes]
        edges.append(Edge(start, (NOWHERE, ""), "port"))
        reached = [*graph.reached(routes), start]
        nodes[NOWHERE, ""] = Node(NOWHERE, "")
    else:
        start = Did.kind, did.id
        reached = list(graph.reached([start]))
    arriving = lines(document, fields)
    shown = [key for key in reached if key in graph.nodes]
    nodes = {node.key: node for node in arriving} | nodes | {key: graph.nodes[key] for key in shown[:NODES_MAX]}
    edges = [*(Edge(line.key, start, "arrival") for line in arriving), *edges]
    return View(Graph.of(nodes.values(), edges), max(0, len(shown) - NODES_MAX))


def whole(graph: Graph, arriving: Iterable[Node], wanted: Iterable[Key] | None = None) -> View:
    """The whole company.

    :param wanted: only these, where their calls come from and where they go; None: all.
    """
    plain = Graph.of(graph.nodes.values(), [edge for edge in graph.edges if edge.why != "rule"])
    if wanted is not None:
        wanted = list(wanted)
        shown = plain.reached(wanted) | plain.reached(wanted, back=True)
        plain = Graph.of([node for key, node in plain.nodes.items() if key in shown], plain.edges)
    bundled = _contracted(plain, _bundles(plain))
    kept = _kept(bundled)
    left_out = sum(len(node.bundled) or 1 for key, node in bundled.nodes.items() if key not in kept)
    return View(_with_outside([bundled.nodes[key] for key in kept], bundled.edges, list(arriving)), left_out)


def _with_outside(nodes: list[Node], edges: Iterable[Edge], arriving: list[Node]) -> Graph:
    """With the lines, and the place where their calls come together: rules first, then numbers."""
    entries = sorted((node for node in nodes if node.kind in (InboundRoute.kind, Did.kind)), key=_reading_order)
    if not entries:
        return Graph.of(nodes, edges)
    outside = Node(OUTSIDE, "")
    made = [Edge(line.key, outside.key, "arrival") for line in arriving]
    made += [Edge(outside.key, node.key, "rule" if node.kind == InboundRoute.kind else "arrival") for node in entries]
    first = {node.key for node in entries}
    others = [node for node in nodes if node.key not in first]
    return Graph.of([*arriving, outside, *entries, *others], [*made, *edges])


def _reading_order(node: Node) -> tuple[int, int, str]:
    """Rules as they are asked, then what is wrong and single numbers by number, then bundles."""
    if isinstance(node.item, InboundRoute):
        return 0, node.item.order, node.id
    return 1 + bool(node.bundled), 0, node.item.number if isinstance(node.item, Did) else node.id


def _bundles(graph: Graph) -> dict[Key, Node]:
    """Node → the bundle that it goes into."""
    dids = [key for key, node in graph.nodes.items() if node.kind == Did.kind]
    if len(dids) <= SINGLY_MAX:
        return {}
    alike: dict[tuple[str, str, str], list[Key]] = {}
    for key in dids:
        signature = _signature(graph, key)
        if signature is not None:
            alike.setdefault(signature, []).append(key)
    found: dict[Key, Node] = {}
    for (how, kind, id), members in alike.items():
        if len(members) < 2:
            continue
        found |= _all_into(Node(Did.kind, f"*{how}*{kind}*{id}", bundled=tuple(members)))
        if how == "each":
            targets = tuple(graph.after[key][0].target for key in members)
            found |= _all_into(Node(kind, f"*{kind}", bundled=targets))
    return found


def _all_into(bundle: Node) -> dict[Key, Node]:
    return dict.fromkeys(bundle.bundled, bundle)


def _signature(graph: Graph, key: Key) -> tuple[str, str, str] | None:
    """What numbers of one bundle have in common; None: it stands alone."""
    edges = graph.after.get(key, ())
    if graph.nodes[key].marks or graph.before.get(key) or len(edges) != 1:
        return None
    target = graph.nodes[edges[0].target]
    if Mark.MISSING in target.marks:
        return None
    if len(graph.before[target.key]) == 1 and not target.marks - {Mark.DEAD_END} and target.item is not None:
        return "each", target.kind, ""
    return "same", *target.key


def _contracted(graph: Graph, into: Mapping[Key, Node]) -> Graph:
    """With bundles in the place of their members."""
    if not into:
        return graph
    nodes = dict.fromkeys(into[key].key if key in into else key for key in graph.nodes)
    known = {node.key: node for node in into.values()} | dict(graph.nodes)
    edges: dict[Edge, None] = {}
    for edge in graph.edges:
        source, target = (into[key].key if key in into else key for key in (edge.source, edge.target))
        inside = edge.source in into
        if not (inside and source == target):
            edges[Edge(source, target, edge.why, "" if inside else edge.port, edge.loop)] = None
    return Graph.of([known[key] for key in nodes], edges)


def _kept(graph: Graph) -> dict[Key, None]:
    """As many nodes as a picture bears: first what is wrong, then in the order in which people read, with all that follows."""
    if len(graph.nodes) <= NODES_MAX:
        return dict.fromkeys(graph.nodes)
    wrong = [key for key, node in graph.nodes.items() if node.marks - {Mark.DEAD_END}]
    entries = [node.key for node in sorted(graph.nodes.values(), key=_reading_order) if not graph.before.get(node.key)]
    kept: dict[Key, None] = {}
    for start in (*wrong, *entries, *graph.nodes):
        for key in graph.reached([start]):
            if len(kept) == NODES_MAX:
                return kept
            kept[key] = None
    return kept
