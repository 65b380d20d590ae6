"""What the boxes of the call flow say, how large they are, and the picture and the list made of them. Decides no edits."""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from appliance import labels
from appliance.access.entries import Entry
from appliance.console.portal.cells import Names, words
from appliance.console.portal.flow_edit import control_name
from appliance.console.portal.forms import FormField, Widget, filled, form_of, option_of, title_of
from appliance.console.portal.page_context import label_at, small_first
from appliance.i18n import _, translated
from appliance.kinds import KINDS
from appliance.pbx.flow.graph import Edge, Graph, Key, Mark, Node
from appliance.pbx.flow.layout import Arrow, Box, layout
from appliance.pbx.flow.ports import Port
from appliance.pbx.flow.views import CALLED, NOWHERE, OUTSIDE
from appliance.pbx.routing.model import InboundRoute, Onward
from appliance.pbx.trunks.model import Trunk

WIDTH: Final = 224
PAD: Final = 12
TITLE_Y: Final = 38
LINE: Final = 17
ROW: Final = 28
"""Height of a way on: the dot that is dragged is easily hit."""
EM: Final = {"title": 8.0, "line": 6.9, "state": 7.5}
"""Width of a usual character; wide ones (CJK, emoji) count twice. The box clips what is wider after all."""


@dataclass(frozen=True, slots=True)
class Row:
    """A way on from a box.

    :param path: of the destination field; empty: a rule's, or a bundle's.
    :param control: the name of the field's control in the object's form.
    :param says: where it leads, in words.
    """

    label: str
    edges: tuple[Edge, ...] = ()
    path: str = ""
    control: str = ""
    optional: bool = False
    editable: bool = False
    says: str = ""
    y: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """A box: ``to``: the destination that leads here, as JSON; empty: none may. ``look``: the page of its own flow."""

    node: Node
    topic: str
    title: str
    details: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    rows: tuple[Row, ...] = ()
    url: str = ""
    look: str = ""
    etag: str = ""
    pending: str = ""
    removable: bool = False
    to: str = ""
    x: int = 0
    y: int = 0
    height: int = 0

    @property
    def name(self) -> str:
        """The node's key as one word, for scripts."""
        return "/".join(self.node.key)

    @property
    def anchor(self) -> str:
        """Its place in the list."""
        return "at-" + "".join(char if char.isalnum() else "-" for char in self.name)

    @property
    def lines(self) -> list[tuple[str, str, int]]:
        """Texts of the box with their styles and heights."""
        y = TITLE_Y
        found = [("topic", fit(self.topic, "line"), 20), ("title", fit(self.title, "title"), y)]
        details = [("detail", fit(text, "line")) for text in self.details]
        for style, text in (*details, *((f"state {name}", fit(text, "state")) for name, text in self.marks)):
            y += LINE
            found.append((style, text, y))
        return found

    @property
    def said(self) -> str:
        """All that the box says, for who doesn't see it."""
        texts = [f"{self.topic}: {self.title}" if self.topic else self.title, *self.details]
        texts += [text for _name, text in self.marks]
        texts += [f"{row.label}: {row.says}" if row.says else row.label for row in self.rows]
        return "; ".join(texts)


def fit(text: str, style: str) -> str:
    """As much of a text as a box has room for."""
    room = (WIDTH - 2 * PAD) / EM[style]
    used = 0.0
    for index, char in enumerate(text):
        used += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if used > room:
            return text[: max(1, index - 1)].rstrip() + "…"
    return text


@dataclass(frozen=True, slots=True)
class Shower:
    """What boxes are made of.

    :param entries: objects as the reader may see them.
    :param names: what references refer to.
    :param others: paths of objects that somebody else is changing too.
    :param faults: object's path → what is wrong with it.
    :param form_url: address of an object's form. ``look_url``: of the flow of a node.
    :param sees_all: whether no object of a kind is hidden from the reader.
    """

    entries: Mapping[Key, Entry]
    names: Names
    others: Mapping[str, str]
    faults: Mapping[str, Sequence[str]]
    form_url: Callable[[str, str], str]
    look_url: Callable[[Node], str]
    sees_all: Callable[[str], bool]

    def shown(self, graph: Graph, key: Key) -> Shown:
        """One box."""
        node = graph.nodes[key]
        entry = self.entries.get(key)
        one = self._special(node) or (self._object(node, entry) if entry is not None else self._missing(node))
        rows, marks = self._rows(graph, node, entry), self._marks(node, entry)
        return replace(one, rows=rows, marks=marks, look=self.look_url(node), height=_height(one, marks, rows))

    def _special(self, node: Node) -> Shown | None:
        """Boxes that are no objects."""
        if node.kind == OUTSIDE:
            return Shown(node, "", _("Calls from outside"))
        if node.kind == CALLED:
            return Shown(node, _("Called number"), node.id, (_("none of ours"),))
        if node.kind == NOWHERE:
            return Shown(node, _("Refuse the call"), _("There is no such number"))
        if node.end is not None:
            return self._end(node, node.end)
        if node.bundled:
            several = small_first(translated(labels.of_kind(node.kind, several=True)))
            title = _("{count} {what}").format(count=len(node.bundled), what=several)
            each = (_("each to one of its own"),) if node.id.startswith("*each") else ()
            return Shown(node, "", title, each)
        return None

    def _end(self, node: Node, end: Onward) -> Shown:
        option = option_of(type(end))
        data = end.model_dump(mode="json")
        texts = [words(one, data.get(one.name), self.names) for one in option.fields]
        title, *more = [text for text in texts if text] or [translated(option.label)]
        return Shown(node, translated(option.label), title, tuple(more), to=json.dumps(data, ensure_ascii=False))

    def _missing(self, node: Node) -> Shown:
        return Shown(node, translated(labels.of_kind(node.kind)), node.id)

    def _object(self, node: Node, entry: Entry) -> Shown:
        fields = entry.fields
        title = title_of({**fields, "id": node.id})
        details = [str(fields[name]) for name in ("number",) if fields.get(name) and str(fields[name]) != title]
        details += self.conditions(fields) if node.kind == InboundRoute.kind else self._lists(node.kind, fields)
        kind = translated(labels.of_kind(node.kind))
        return Shown(
            node, kind, title, tuple(details), url=self.form_url(*node.key), etag=entry.etag, pending=entry.pending,
            removable=entry.fields.keys() - {"id"} <= entry.editable, to=_reached_by(node),
        )  # fmt: skip

    def conditions(self, fields: Mapping[str, Any]) -> list[str]:
        """When an inbound route applies."""
        found = []
        if fields.get("trunks"):
            trunks = next(one for one in form_of(InboundRoute).fields if one.name == "trunks")
            found.append(_("from {lines}").format(lines=words(trunks, fields["trunks"], self.names)))
        if fields.get("called", "+") != "+":
            found.append(_("to {prefix}…").format(prefix=fields["called"]))
        if fields.get("caller") is not None:
            found.append(_("from callers with {prefix}…").format(prefix=fields["caller"]))
        return found or ([_("every call")] if "caller" in fields else [])

    def _lists(self, kind: str, fields: Mapping[str, Any]) -> list[str]:
        """What an object holds several of: members of a group."""
        lists = [one for one in form_of(KINDS[kind]).fields if one.widget is Widget.LIST and _refers(one.item)]
        return [text for one in lists if (text := words(one, fields.get(one.name), self.names))]

    def _marks(self, node: Node, entry: Entry | None) -> tuple[tuple[str, str], ...]:
        """What is to be noticed, worst first: name of a style, text."""
        found = []
        if Mark.MISSING in node.marks:
            gone = self.sees_all(node.kind)
            found.append(("bad", _("doesn't exist") if gone else _("doesn't exist, or isn't shown to you")))
        if Mark.LOOP in node.marks:
            found.append(("bad", _("calls go round for ever")))
        found += [("bad", text) for text in self.faults.get("/".join(node.key), ())]
        if Mark.UNREACHED in node.marks:
            found.append(("odd", _("no call gets here")))
        if Mark.DEAD_END in node.marks:
            found.append(("soft", _("calls may end here")))
        if entry is not None and entry.pending:
            texts = {"added": _("added"), "changed": _("changed"), "removed": _("removed")}
            found.append(("pending", texts[entry.pending]))
        if who := self.others.get("/".join(node.key)):
            found.append(("odd", _("{who} is changing it too").format(who=who)))
        return tuple(found)

    def _rows(self, graph: Graph, node: Node, entry: Entry | None) -> tuple[Row, ...]:
        """Ways on: rules in their order, then destination fields."""
        edges = graph.after.get(node.key, ())
        rules = [edge for edge in edges if edge.why == "rule" and node.kind != OUTSIDE]
        rows = [Row(f"{place}. {self.title(graph.nodes[rule.target])}", (rule,)) for place, rule in enumerate(rules, 1)]
        for port in node.ports:
            label = _("otherwise") if rules and port.path == "destination" else self._port_label(node.kind, port, entry)
            led = tuple(edge for edge in edges if edge.why == "port" and edge.port == port.path)
            says = self.title(graph.nodes[led[0].target]) if led else _vacant(node.kind, port)
            editable = entry is not None and port.field in entry.editable
            rows.append(Row(label, led, port.path, control_name(port.path), port.optional, editable, says))
        if node.kind == CALLED and rules:
            rows.append(Row(_("otherwise"), tuple(edge for edge in edges if edge.why == "port")))
        return tuple(rows)

    def title(self, node: Node) -> str:
        """What a box is called."""
        entry = self.entries.get(node.key)
        if (special := self._special(node)) is not None:
            return f"{special.topic}: {special.title}" if special.topic else special.title
        return node.id if entry is None else title_of({**entry.fields, "id": node.id})

    def _port_label(self, kind: str, port: Port, entry: Entry | None) -> str:
        if port.path == port.field:
            return translated(labels.of_field(KINDS[kind].__name__, port.path))
        fields = filled(form_of(KINDS[kind]), {} if entry is None else entry.fields)
        return label_at(fields, control_name(port.path))


def _reached_by(node: Node) -> str:
    """The destination that leads to an object, as JSON."""
    way = _ways().get(node.kind)
    return "" if way is None else json.dumps({"type": way[0], way[1]: node.id})


def _ways() -> dict[str, tuple[str, str]]:
    """Kind → type and field of the destination that leads to its objects."""
    found: dict[str, tuple[str, str]] = {}
    for model in KINDS.values():
        for one in form_of(model).fields:
            for option in one.options:
                target = next((inner for inner in option.fields if inner.name == option.name and inner.kinds), None)
                for kind in target.kinds if target is not None and len(option.fields) == 1 else ():
                    found.setdefault(kind, (option.name, option.name))
    return found


def _vacant(kind: str, port: Port) -> str:
    text = labels.INHERITED.get(f"{KINDS[kind].__name__}.{port.path}", "")
    return translated(text) if text else _("none")


def _refers(item: FormField | None) -> bool:
    return item is not None and any(inner.widget is Widget.REFERENCE and inner.required for inner in item.fields)


def _height(one: Shown, marks: Sequence[object], rows: Sequence[object]) -> int:
    texts = TITLE_Y + LINE * (len(one.details) + len(marks)) + PAD
    return texts + (ROW * len(rows) + 4 if rows else 0)


# -- the picture -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """An arrow: its path and its head as SVG, and what it joins."""

    edge: Edge
    path: str
    head: str
    back: bool

    @property
    def style(self) -> str:
        """Classes of its looks."""
        return " ".join(
            ("way", self.edge.why, *(("loop",) if self.edge.loop else ()), *(("back",) if self.back else ()))
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes in reading order, arrows, and the size of all."""

    boxes: tuple[Shown, ...]
    ways: tuple[Way, ...]
    width: int
    height: int
    by_key: Mapping[Key, Shown] = field(default_factory=dict)


MARGIN: Final = 16


def picture(graph: Graph, shower: Shower) -> Picture:
    """The picture of a graph."""
    boxes = {key: _with_heights(shower.shown(graph, key)) for key in graph.nodes}
    made = layout(
        [Box(key, WIDTH, box.height, _least(graph, key)) for key, box in boxes.items()],
        [Arrow(edge.source, edge.target, _start(boxes[edge.source], edge), 30) for edge in graph.edges],
    )
    placed = {
        key: replace(box, x=made.places[key].x + MARGIN, y=made.places[key].y + MARGIN) for key, box in boxes.items()
    }
    ways = tuple(_way(edge, line.points, back=line.back) for edge, line in zip(graph.edges, made.lines, strict=True))
    order = sorted(placed.values(), key=lambda box: (box.x, box.y))
    return Picture(tuple(order), ways, made.width + 2 * MARGIN, made.height + 2 * MARGIN, placed)


def _least(graph: Graph, key: Key) -> int:
    """The column before which a box doesn't stand: what only calls from inside get to doesn't stand among the lines."""
    if (OUTSIDE, "") not in graph.nodes or key[0] == Trunk.kind:
        return 0
    return 1 if key[0] == OUTSIDE else 2


def _with_heights(box: Shown) -> Shown:
    first = box.height - ROW * len(box.rows) - 4 + ROW // 2
    return replace(box, rows=tuple(replace(row, y=first + ROW * place) for place, row in enumerate(box.rows)))


def _start(box: Shown, edge: Edge) -> int:
    return next((row.y for row in box.rows if edge in row.edges), 30)


def _way(edge: Edge, points: Sequence[tuple[int, int]], *, back: bool) -> Way:
    moved = [(x + MARGIN, y + MARGIN) for x, y in points]
    x, y = moved[-1]
    moved[-1] = (x - 6, y)
    path = f"M{moved[0][0]} {moved[0][1]}"
    for (x0, y0), (x1, y1) in itertools.pairwise(moved):
        if back or y0 == y1:
            path += f"L{x1} {y1}"
        else:
            middle = (x0 + x1) // 2
            path += f"C{middle} {y0} {middle} {y1} {x1} {y1}"
    return Way(edge, path, f"M{x} {y}l-9 -5v10z", back)


# -- the list --------------------------------------------------------------------------------------------------------


DEPTH_MAX: Final = 6
"""Levels of the list; what follows goes on at its end."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of the list: a box with what follows; ``again``: that stands elsewhere in the list."""

    box: Shown
    again: bool = False
    ways: tuple[tuple[Row, tuple[Item, ...]], ...] = ()


def listed(graph: Graph, drawn: Picture, starts: Sequence[Key]) -> list[Item]:
    """The same as a list, each box with its ways on once."""
    done: set[Key] = set()
    later: list[Key] = []

    def item(key: Key, depth: int) -> Item:
        box = drawn.by_key[key]
        follows = bool(graph.after.get(key))
        if key in done or (depth == DEPTH_MAX and follows):
            if key not in done:
                later.append(key)
            return Item(box, again=follows)
        done.add(key)
        rows = box.rows or ((Row("", graph.after[key]),) if follows else ())
        return Item(box, ways=tuple((row, tuple(item(edge.target, depth + 1) for edge in row.edges)) for row in rows))

    found = [item(key, 0) for key in starts if key not in done]
    for key in later:  # it grows meanwhile
        if key not in done:
            found.append(item(key, 0))
    return found


def starts_of(graph: Graph) -> list[Key]:
    """Where the list of a company begins: rules, numbers, what sends calls and nothing leads to, and what is left."""
    entries = [edge.target for edge in graph.after.get((OUTSIDE, ""), ())]
    senders = [key for key, node in graph.nodes.items() if node.ports]
    return [*entries, *(key for key in senders if not graph.before.get(key)), *senders]
