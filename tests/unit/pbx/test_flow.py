"""The call flow as a graph: of today's kinds, of kinds that there aren't yet, and the parts of it that people look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from pydantic import Field

from appliance.core.document import Document, parse
from appliance.core.fields import ListField, ObjectId, RefTo
from appliance.core.model import Object, Part
from appliance.kinds import KINDS
from appliance.pbx.flow.graph import Graph, Key, Mark, Node, flow, loops
from appliance.pbx.flow.layout import Arrow, Box, layout
from appliance.pbx.flow.ports import leads_to, ports, receiving, sends
from appliance.pbx.flow.views import NODES_MAX, OUTSIDE, SINGLY_MAX, lines, of_number, whole
from appliance.pbx.routing.loops import loops as faults_of_loops
from appliance.pbx.routing.model import Onward, ToExtension, ToHangup
from tests.strategies import documents

Row = tuple[str, dict[str, Any]]
OURS, OTHER = "+390200000001", "+390200000002"


def did(id: str, number: str, destination: dict[str, Any], **more: Any) -> Row:
    return "did", {"id": id, "number": number, "company": "demo", "destination": destination, **more}


def group(id: str, no_answer: dict[str, Any] | None = None, **more: Any) -> Row:
    return "ring_group", {
        "id": id, "name": id, "site": "hq", "members": [{"extension": "e"}], "no_answer": no_answer, **more,
    }  # fmt: skip


def rule(id: str, destination: dict[str, Any], **more: Any) -> Row:
    return "inbound_route", {"id": id, "name": id, "order": 1, "destination": destination, **more}


def to_group(id: str) -> dict[str, Any]:
    return {"type": "ring_group", "ring_group": id}


def to_number(number: str) -> dict[str, Any]:
    return {"type": "number", "number": number, "site": "hq"}


REFUSED = {"type": "hangup", "reason": "rejected"}
TO_E = {"type": "extension", "extension": "e"}
E: Row = ("extension", {"id": "e", "number": "201", "site": "hq"})


def document(*rows: Row) -> Document:
    return Document.of(parse(KINDS, kind, data) for kind, data in rows)


def ways(graph: Graph) -> set[tuple[str, str, str]]:
    return {("/".join(edge.source), edge.port or edge.why, "/".join(edge.target)) for edge in graph.edges}


def marks(graph: Graph) -> dict[str, set[Mark]]:
    return {"/".join(key): set(node.marks) for key, node in graph.nodes.items() if node.marks}


def test_from_a_number_through_rules_and_groups_to_the_end() -> None:
    graph = flow(
        document(did("main", OURS, to_group("desk")), group("desk", TO_E), E, rule("night", REFUSED, called="+39"))
    )
    assert ways(graph) == {
        ("did/main", "destination", "ring_group/desk"),
        ("did/main", "rule", "inbound_route/night"),
        ("ring_group/desk", "no_answer", "extension/e"),
        ("inbound_route/night", "destination", "to:hangup/rejected"),
    }
    assert marks(graph) == {}


def test_what_is_to_be_noticed() -> None:
    graph = flow(
        document(
            did("main", OURS, to_group("gone")), did("echo", OTHER, to_group("a")), group("a", to_group("b")),
            group("b", to_group("a")), group("alone"), group("inside", TO_E, number="400"), E,
        )
    )  # fmt: skip
    assert marks(graph) == {
        "ring_group/gone": {Mark.MISSING},
        "ring_group/a": {Mark.LOOP},
        "ring_group/b": {Mark.LOOP},
        "ring_group/alone": {Mark.UNREACHED, Mark.DEAD_END},
    }
    assert {edge.target[1] for edge in graph.edges if edge.loop} == {"a", "b"}


def test_a_call_to_a_number_of_ours_comes_back_in() -> None:
    graph = flow(
        document(
            did("a", OURS, to_number(OTHER)), did("b", OTHER, to_number("+442079460000")), rule("r", to_number(OURS))
        )
    )
    assert ("did/a", "destination", "did/b") in ways(graph)
    assert ("did/b", "destination", "to:number/+442079460000 hq") in ways(graph)
    assert set(marks(graph)) == {"did/a", "did/b", "inbound_route/r"}, "the rule is asked about calls to b too"


@given(documents())
def test_loops_are_those_that_verify_finds(of: Document) -> None:
    graph = flow(of)
    known = {key for key, node in graph.nodes.items() if Mark.LOOP in node.marks}
    told = {tuple(fault.path.split("/")[:2]) for fault in faults_of_loops(of)}
    numbers = [item.number for item in of.objects.get("did", {}).values()]  # type: ignore[attr-defined]
    if len(set(numbers)) == len(numbers):  # two DIDs of one number are a fault of their own
        assert told <= known
        assert bool(told) == bool(known)


@given(documents())
def test_every_destination_is_a_way_and_every_way_has_its_boxes(of: Document) -> None:
    graph = flow(of)
    count = sum(port.destination is not None for item in of for port in ports(item))
    assert sum(edge.why == "port" for edge in graph.edges) == count
    for view in (whole(graph, lines(of)), *(of_number(graph, of, number) for number in (OURS, "+390299999999"))):
        assert all(edge.source in view.graph.nodes and edge.target in view.graph.nodes for edge in view.graph.edges)


# -- kinds that come later -------------------------------------------------------------------------------------------


class ToMenu(Onward):
    """Play a menu."""

    type: Literal["menu"] = "menu"
    menu: Annotated[ObjectId, RefTo("menu")]


Later = Annotated[ToMenu | ToExtension | ToHangup, Field(discriminator="type")]


class MenuKey(Part):
    """What a key does."""

    digit: str
    destination: Later


class Menu(Object):
    """A menu that callers choose from."""

    kind: ClassVar[str] = "menu"
    name: str
    keys: Annotated[tuple[MenuKey, ...], ListField] = ()
    wrong_key: Later | None = None
    first: Annotated[tuple[Later, ...], ListField] = ()


def test_a_kind_with_destinations_in_lists_is_a_node_without_changes() -> None:
    menu = Menu.model_validate(
        {
            "id": "m",
            "name": "Menu",
            "keys": [{"digit": "1", "destination": TO_E}, {"digit": "2", "destination": {"type": "menu", "menu": "n"}}],
            "first": [REFUSED],
        }
    )
    graph = flow(Document.of([menu, *document(E)]))
    assert ways(graph) == {
        ("menu/m", "keys[0].destination", "extension/e"),
        ("menu/m", "keys[1].destination", "menu/n"),
        ("menu/m", "first[0]", "to:hangup/rejected"),
    }
    assert [(port.path, port.field, port.optional) for port in ports(menu)] == [
        ("keys[0].destination", "keys", False), ("keys[1].destination", "keys", False), ("wrong_key", "wrong_key", True),
        ("first[0]", "first", False),
    ]  # fmt: skip
    assert marks(graph) == {"menu/m": {Mark.UNREACHED, Mark.DEAD_END}, "menu/n": {Mark.MISSING}}
    assert receiving([Menu]) == ("menu", "extension")
    assert leads_to(ToMenu(menu="n")) == (("menu",), "n")


def test_which_kinds_send_and_receive_today() -> None:
    assert [kind for kind, model in KINDS.items() if sends(model)] == ["ring_group", "did", "inbound_route"]
    assert set(receiving(KINDS.values())) == {"extension", "ring_group"}


# -- what may be seen ------------------------------------------------------------------------------------------------


def test_what_may_not_be_seen_isn_t_there() -> None:
    of = document(did("main", OURS, to_group("desk")), group("desk", TO_E), E, group("alone"))
    hidden = flow(
        of, lambda item: frozenset() if item.kind == "ring_group" else frozenset(type(item).model_fields), whole=False
    )
    assert hidden.nodes["ring_group", "desk"].item is None
    assert marks(hidden) == {"ring_group/desk": {Mark.MISSING}}
    assert ("extension", "e") not in hidden.nodes
    blind = flow(of, lambda _item: frozenset({"id", "number"}), whole=False)
    assert blind.edges == ()
    assert marks(flow(of, whole=False)).get("ring_group/alone") == {Mark.DEAD_END}, (
        "it isn't known that nobody calls there"
    )


# -- views -----------------------------------------------------------------------------------------------------------

TRUNK: dict[str, Any] = {"name": "Line", "provider": "p", "host": "192.0.2.9", "auth": {"type": "address"}}


def test_one_number() -> None:
    of = document(
        did("main", OURS, to_group("desk")), did("other", OTHER, TO_E), group("desk"), E, rule("r", REFUSED, called=OURS),
        rule("s", REFUSED, called=OTHER, order=0), ("trunk", {"id": "line", **TRUNK}),
    )  # fmt: skip
    seen = of_number(flow(of), of, OURS).graph
    assert ways(seen) == {
        ("trunk/line", "arrival", "did/main"), ("did/main", "rule", "inbound_route/r"),
        ("did/main", "destination", "ring_group/desk"), ("inbound_route/r", "destination", "to:hangup/rejected"),
    }  # fmt: skip
    seen = of_number(flow(of), of, "+390200000099").graph
    assert ways(seen) == {
        ("trunk/line", "arrival", "called/+390200000099"),
        ("called/+390200000099", "port", "nowhere/"),
    }


def test_many_lines_are_one_box() -> None:
    of = document(*(("trunk", {"id": f"line-{number}", **TRUNK}) for number in range(7)))
    assert [len(node.bundled) for node in lines(of)] == [7]
    assert len(lines(document(*(("trunk", {"id": f"line-{number}", **TRUNK}) for number in range(6))))) == 6


def many(count: int) -> Iterable[Row]:
    for number in range(count):
        ours = f"+3902{number:08}"
        if number % 2:
            yield did(f"d{number}", ours, {"type": "extension", "extension": f"e{number}"})
            yield "extension", {"id": f"e{number}", "number": str(20000 + number), "site": "hq"}
        elif number % 10 == 0:
            yield did(f"d{number}", ours, to_group(f"g{number}"))
            yield group(f"g{number}", to_group("desk"))
        else:
            yield did(f"d{number}", ours, to_group("desk"))
    yield group("desk", REFUSED)


def test_a_company_with_five_hundred_numbers_is_no_hairball() -> None:
    of = document(*many(500), did("wrong", "+390300000000", to_group("gone")), rule("r", REFUSED))
    view = whole(flow(of), lines(of))
    nodes = view.graph.nodes
    assert view.left_out == 0
    assert {key: len(node.bundled) for key, node in nodes.items() if node.bundled} == {
        ("did", "*each*extension*"): 250, ("extension", "*extension"): 250, ("did", "*each*ring_group*"): 50,
        ("ring_group", "*ring_group"): 50, ("did", "*same*ring_group*desk"): 200,
    }  # fmt: skip
    assert [key for key, node in nodes.items() if not node.bundled] == [
        (OUTSIDE, ""), ("inbound_route", "r"), ("did", "wrong"), ("ring_group", "gone"), ("ring_group", "desk"),
        ("to:hangup", "rejected"),
    ]  # fmt: skip
    assert ("ring_group/*ring_group", "port", "ring_group/desk") in ways(view.graph)
    assert ("outside/", "rule", "inbound_route/r") in ways(view.graph)
    assert len([edge for edge in view.graph.edges if edge.target == ("ring_group", "desk")]) == 2


def test_a_search_shows_where_calls_come_from_and_where_they_go() -> None:
    of = document(*many(500))
    view = whole(flow(of), lines(of), [("ring_group", "g20")])
    assert set(view.graph.nodes) == {
        (OUTSIDE, ""), ("did", "d20"), ("ring_group", "g20"), ("ring_group", "desk"), ("to:hangup", "rejected"),
    }  # fmt: skip
    assert whole(flow(of), lines(of), []).graph.nodes == {}


def test_what_is_too_much_is_left_out_but_not_what_is_wrong() -> None:
    of = document(*(group(f"g{number:03}", REFUSED, number=str(4000 + number)) for number in range(300)), group("zz"))
    view = whole(flow(of), lines(of))
    assert (len(view.graph.nodes), view.left_out) == (NODES_MAX, 302 - NODES_MAX)
    assert ("ring_group", "zz") in view.graph.nodes


@pytest.mark.parametrize("count", [SINGLY_MAX, SINGLY_MAX + 1])
def test_few_numbers_stand_alone(count: int) -> None:
    of = document(*(did(f"d{number}", f"+3902{number:08}", TO_E) for number in range(count)), E)
    bundled = [node for node in whole(flow(of), lines(of)).graph.nodes.values() if node.bundled]
    assert bool(bundled) == (count > SINGLY_MAX)


def test_a_picture_of_it_is_drawn_whatever_the_document() -> None:
    of = document(*many(500))
    graph = whole(flow(of), lines(of)).graph
    made = layout(
        [Box(key, 200, 60) for key in graph.nodes], [Arrow(edge.source, edge.target, 30, 30) for edge in graph.edges]
    )
    assert not any(line.back for line in made.lines)


def test_a_ring_of_thousands_is_found_without_recursion() -> None:
    of = document(*(group(f"g{number}", to_group(f"g{(number + 1) % 3000}")) for number in range(3000)))
    rings = loops(flow(of))
    assert [len(ring) for ring in rings] == [3000]


def test_the_check_sees_a_node_that_is_none() -> None:
    key: Key = ("did", "x")
    assert Graph.of([Node(*key)], []).reached([("did", "y")]) == {}


def test_what_is_wrong_isn_t_hidden_in_a_bundle() -> None:
    rows = [did(f"d{number}", f"+3902{number:08}", to_group("desk")) for number in range(20)]
    of = document(*rows, group("desk", to_number("+390200000000")))  # back to the first
    nodes = whole(flow(of), lines(of)).graph.nodes
    assert nodes["did", "d0"].marks == {Mark.LOOP}
    assert [len(node.bundled) for node in nodes.values() if node.bundled] == [19]
