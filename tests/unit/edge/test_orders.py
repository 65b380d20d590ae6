"""Orders to the edge's agent: garbage, faults of ours, and what is refused. With a real tunnel: tests/hil/test_edge_drill.py."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.edge import bundle
from appliance.edge.asking import Edge, said
from appliance.edge.journal import Event, Journal
from appliance.edge.links.network import Network
from appliance.edge.measuring import Measuring
from appliance.edge.orders import LINES_MAX, ORDER_MAX, Orders
from appliance.edge.paths import EdgePaths
from appliance.edge.relay import EdgeRelay
from appliance.engine.unix import listening


@contextmanager
def answering(orders: Orders, path: Path) -> Iterator[None]:
    """An event loop of its own answers at that socket."""
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_unix_server(orders.answer, path)
        ready.set()
        await asyncio.to_thread(over.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join(10)


class World:
    def __init__(self, tmp_path: Path) -> None:
        self.paths = EdgePaths(tmp_path / "edge")
        self.paths.run.mkdir(parents=True)
        self.journal = Journal(self.paths.journal)
        self.told: Callable[[], dict[str, Any]] = lambda: {"enrolled": False}
        self.relay = EdgeRelay(self.paths)
        self.orders = Orders(
            self.paths, self.status, self.journal, Measuring(self.relay, lambda: None), self.relay, Network(self.paths)
        )
        self.edge = Edge(self.paths.orders)

    def status(self) -> dict[str, Any]:
        return self.told()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with answering(made.orders, made.paths.orders):
        yield made


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{}\n", b"[]\n", b"null\n", b'{"do": "bring the house down"}\n', b'{"do": ["status"]}\n', b"\xff\xfe\n",
        b"[" * 3000 + b"\n", b'{"do": "status", "more": "' + b"x" * ORDER_MAX + b'"}\n',
    ],
)  # fmt: skip
def test_garbage_is_answered_and_does_nothing(world: World, line: bytes) -> None:
    answer = said(world.paths.orders, line)
    assert answer["error"]["error_id"] == "order", answer
    assert world.edge.status() == {"enrolled": False}


def test_what_has_no_meaning_is_refused_by_name(world: World) -> None:
    for order, field in (
        ({"seconds": "ten"}, "seconds"),
        ({"seconds": True}, "seconds"),
        ({"seconds": 1e9}, "seconds"),
        ({"line": []}, "line"),
    ):
        answer = said(world.paths.orders, json.dumps({"do": "measure", **order}).encode() + b"\n")
        assert answer["error"]["faults"][0]["path"] == field
    for seconds, line in ((2.9, None), (61, None), (4.9, 1), (61, 1)):
        with pytest.raises(InvalidError) as error:
            world.edge.measure(seconds, line)
        assert error.value.faults[0].path == "seconds"
    assert world.edge.measurement() is None


def test_a_line_is_chosen_by_hand_for_a_time_and_no_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.relay, "told", lambda: [{"line": each, "up": True} for each in (1, 2)])
    world.edge.choose(2, 600)
    chosen = world.relay.chosen
    assert chosen is not None
    assert (chosen.line, 590 < chosen.left_s <= 600) == (2, True)
    assert EdgeRelay(world.paths).chosen is not None, "its successor knows it"
    with pytest.raises(NotFoundError) as missing:
        world.edge.choose(3, 600)
    assert missing.value.error_id == "line"
    for seconds in (9, 86_401, -1):
        with pytest.raises(InvalidError) as error:
            world.edge.choose(1, seconds)
        assert error.value.faults[0].path == "seconds"
    chosen = world.relay.chosen
    assert chosen is not None
    assert chosen.line == 2, "what was refused changes nothing"
    world.edge.choose(None)
    assert world.relay.chosen is None
    world.edge.choose(None)


def test_who_isnt_enrolled_measures_nothing(world: World) -> None:
    with pytest.raises(RefusedError) as error:
        world.edge.measure(10)
    assert error.value.error_id == "not_enrolled"
    world.edge.end()


def test_a_fault_of_ours_is_said_and_ends_nothing(world: World) -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError

    world.told = broken
    with pytest.raises(CentralinoError) as error:
        world.edge.status()
    assert error.value.error_id == "internal"
    world.told = lambda: {"enrolled": True}
    assert world.edge.status() == {"enrolled": True}


def test_events_logs_and_bundle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        world.journal.add(Event("line_up", 1000 + number, about={"line": number}))
    assert world.edge.logs("", 2) == {"names": [], "name": "", "lines": []}, "nothing has run yet"
    assert [each["about"]["line"] for each in world.edge.events(2)] == [2, 1]
    world.paths.log.mkdir()
    (world.paths.log / "openvpn.log").write_text("".join(f"{number}\n" for number in range(LINES_MAX + 100)))
    for name in ("openvpn", ""):
        shown = world.edge.logs(name, 2)
        assert shown == {"names": ["openvpn"], "name": "openvpn", "lines": [f"{LINES_MAX + 98}", f"{LINES_MAX + 99}"]}
    assert len(world.edge.logs("openvpn", 10**6 - 1)["lines"]) == LINES_MAX
    with pytest.raises(NotFoundError):
        world.edge.logs("../clock", 2)
    monkeypatch.setattr(bundle, "made", lambda _paths, told, *, now: json.dumps([told, now.wall > 0]).encode())
    assert json.loads(world.edge.bundle()) == [{"enrolled": False}, True]


def test_nobody_is_there_or_says_what_cant_be_read(tmp_path: Path) -> None:
    path = tmp_path / "orders.sock"
    with pytest.raises(UnavailableError) as error:
        Edge(path).status()
    assert error.value.error_id == "edge_not_running"
    for content, expected in ((b"garbage", "edge_not_running"), (b"[]", "edge_garbled"), (b"{}", "edge_garbled")):
        with listening(path, 0o600) as listener:
            listener.listen(1)

            def answer(content: bytes = content) -> None:
                connection, _address = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(content)

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(UnavailableError) as error:
                Edge(path).status()
            thread.join(10)
            assert error.value.error_id == expected


def test_a_bundle_comes_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 1000
    monkeypatch.setattr(bundle, "made", lambda _paths, _told, *, now: content)  # noqa: ARG005 (asked for by name)
    answer = said(world.paths.orders, b'{"do": "bundle"}\n')
    assert base64.b64decode(answer["done"]) == content
    assert world.edge.bundle() == content
