"""The web application under hypercorn, with WebSockets of another library and a manager interface that is played."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.engine import ami_stream
from appliance.engine.ami_stream import Place
from appliance.hub import app as hub_app
from appliance.hub import sockets
from appliance.hub.app import CLOSE_CODES, create_app
from appliance.hub.rooms import ROOMS, TYPES
from appliance.hub.service import GATHER_S, Hub
from appliance.hub.subject import Subject, everything
from tests.hil.agents.ami_replay import AmiReplay
from tests.unit.hub import traces
from tests.unit.hub.loops import run, until

SECRET = "manager-password"


@dataclass
class Bed:
    """A hub that is served, and whoever has a session."""

    engine: AmiReplay
    hub: Hub
    path: Path
    sessions: dict[str, Subject] = field(default_factory=lambda: {"cookie": Subject("operator")})

    def subject(self, token: str, address: str) -> Subject | None:
        assert address == "192.0.2.77"
        return self.sessions.get(token)

    def connect(self, **changes: Any) -> unix_connect:
        headers = {"Cookie": "__Host-session=cookie", "X-Forwarded-For": "198.51.100.1, 192.0.2.77"}
        options: dict[str, Any] = {"origin": "https://portal.example", "additional_headers": headers, "max_size": None}
        return unix_connect(str(self.path), "ws://portal.example/live", **(options | changes))

    def call(self, id: str, device: str = "201-1") -> None:
        """Extension 201 begins a call, or a device that is nobody's."""
        self.engine.send(
            [("Event", "Newchannel"), ("Channel", f"PJSIP/{device}@udp.a-{id}"), ("ChannelState", "4"), ("Exten", "202"),
             ("CallerIDNum", "201"), ("Context", "from-device"), ("Uniqueid", f"c-1.{id}"), ("Linkedid", f"c-1.{id}")]
        )  # fmt: skip


@contextlib.asynccontextmanager
async def bed(work: Path) -> AsyncIterator[Bed]:
    async with AmiReplay(SECRET) as engine:
        directory = traces.company_directory()
        place = Place(lambda: engine.secret and SECRET, port=engine.port)
        hub = Hub(place, everything, lambda known: None if known else directory)
        path = work / "hub.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.accesslog = config.errorlog = None
        config.websocket_max_message_size = hub_app.MESSAGE_MAX
        config.graceful_timeout = 0.2
        made = Bed(engine, hub, path)
        stop = asyncio.Event()
        serving = asyncio.create_task(
            serve(create_app(hub, made), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
        )
        try:
            await until(lambda: not hub.sockets.stale, "the hub is live")
            yield made
        finally:
            stop.set()
            await serving


async def subscribe(browser: ClientConnection, *rooms: str, **more: Any) -> list[dict[str, Any]]:
    await browser.send(json.dumps({"type": "subscribe", "rooms": rooms or ["extensions", "calls"], **more}))
    return list(json.loads(await browser.recv()))


async def hear(browser: ClientConnection, type: str) -> dict[str, Any]:
    """The next message of a type."""
    while True:
        for message in json.loads(await asyncio.wait_for(browser.recv(), 10)):
            if message["type"] == type:
                return dict(message)


async def close_code(browser: ClientConnection) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(browser.recv(), 10)
    return browser.close_code or 0


def test_snapshot_then_deltas_then_the_truth_about_the_engine(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            assert browser.response is not None
            assert "Sec-WebSocket-Extensions" not in browser.response.headers, "one frame for all: no compression"
            hello, *shown = await subscribe(browser, *ROOMS)
            assert (hello["type"], hello["data"]["state"], hello["data"]["resumed"]) == ("hello", "live", False)
            assert [message["room"] for message in shown] == list(ROOMS)
            made.call("1")
            told = await hear(browser, "call")
            assert (told["room"], told["data"]["parties"][0]["number"]) == ("calls", "201")
            await made.engine.die()
            told = await hear(browser, "state")
            assert told["data"]["state"] == "stale"
            assert told["data"]["reason"]
            assert SECRET not in json.dumps(told)
            await made.engine.listen()
            assert (await hear(browser, "call_gone"))["data"] == {"id": "c-1.1"}
            assert (await hear(browser, "state"))["data"]["state"] == "live"

    run(work())


def test_an_engine_that_only_seems_to_be_there_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ami_stream, "PING_S", 0.2)

    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            await subscribe(browser)
            made.engine.silent = True
            assert (await hear(browser, "state"))["data"]["state"] == "stale"
            made.engine.silent = False
            await made.engine.die()
            await made.engine.listen()
            assert (await hear(browser, "state"))["data"]["state"] == "live"

    run(work())


def test_a_wrong_password_leaves_the_hub_stale(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            await subscribe(browser)
            made.engine.secret = "another"
            await made.engine.die()
            await made.engine.listen()
            await hear(browser, "state")
            await until(lambda: "refused" in made.hub.sockets.stale, "it says why")
            made.engine.secret = SECRET
            assert (await hear(browser, "state"))["data"]["state"] == "live"

    run(work())


def test_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.hub.service.HEARTBEAT_S", 0.1)

    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            await subscribe(browser)
            first, second = await hear(browser, "heartbeat"), await hear(browser, "heartbeat")
            assert first["data"]["time"] < second["data"]["time"]
            assert second["data"]["state"] == "live"

    run(work())


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ("", "type"), ("[]", "type"), ("nonsense", "type"), (b"\x00", "type"), ('{"type":"call","to":"202"}', "type"),
        ('{"type":"subscribe"}', "rooms"), ('{"type":"subscribe","rooms":[]}', "rooms"),
        ('{"type":"subscribe","rooms":["calls","vault"]}', "rooms"), ('{"type":"subscribe","rooms":[["calls"]]}', "rooms"),
        ('{"type":"subscribe","rooms":["calls"],"epoch":1}', "epoch"),
        ('{"type":"subscribe","rooms":["calls"],"seq":-1}', "seq"), ('{"type":"subscribe","rooms":["calls"],"seq":true}', "seq"),
    ],
)  # fmt: skip
def test_what_isn_t_understood_is_said_and_ends_it(tmp_path: Path, sent: str | bytes, field: str) -> None:
    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            await browser.send(sent)
            told = await hear(browser, "error")
            assert told["data"]["field"] == f"hub/subscribe/{field}"
            assert told["data"]["hint"]
            assert await close_code(browser) == hub_app.BAD_MESSAGE

    run(work())


def test_asking_too_often_ends_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            for _ in range(hub_app.MESSAGES_PER_MINUTE + 1):
                await browser.send('{"type":"subscribe","rooms":["calls"]}')
            assert (await hear(browser, "error"))["data"]["message"] == "comes too often"
            assert await close_code(browser) == hub_app.BAD_MESSAGE

    run(work())


def test_too_much_and_nothing_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_app, "SUBSCRIBE_S", 0.2)

    async def work() -> None:
        async with bed(tmp_path) as made:
            async with made.connect() as browser:
                await browser.send("x" * (hub_app.MESSAGE_MAX + 1))
                assert await close_code(browser) == 1009
            async with made.connect() as browser:
                assert await close_code(browser) == hub_app.SILENT
            await until(lambda: not made.hub.sockets.browsers, "both are forgotten")

    run(work())


def test_a_session_that_ends_ends_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_app, "LOOK_AGAIN_S", 0.1)

    async def work() -> None:
        async with bed(tmp_path) as made, made.connect() as browser:
            await subscribe(browser, "me")
            made.sessions["cookie"] = Subject("operator", "less", frozenset({"ext-201"}))
            assert (await hear(browser, "snapshot"))["data"]["extension"][0]["id"] == "ext-201", "other rights: anew"
            made.sessions.clear()
            assert await close_code(browser) == hub_app.SIGNED_OUT

    run(work())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"additional_headers": {"X-Forwarded-For": "192.0.2.77"}}, 401),
        ({"additional_headers": {"Cookie": "__Host-session=x", "X-Forwarded-For": "192.0.2.77"}}, 401),
        ({"origin": None}, 403), ({"origin": "null"}, 403), ({"origin": "https://portal.example:444"}, 403),
        ({"origin": "https://portal.example.evil.example"}, 403), ({"origin": "http://portal.example"}, 403),
        ({"origin": "https://[portal.example"}, 403),
    ],
)  # fmt: skip
def test_who_is_refused(tmp_path: Path, changes: dict[str, Any], status: int) -> None:
    async def work() -> None:
        async with bed(tmp_path) as made:
            with pytest.raises(InvalidStatus) as found:
                async with made.connect(**changes):
                    pass
            assert found.value.response.status_code == status
            assert found.value.response.body in (b"", None), "no more than that"

    run(work())


def test_one_who_doesn_t_read_isn_t_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BEHIND_BYTES", 20_000)

    async def work() -> None:
        async with bed(tmp_path) as made, made.connect(max_queue=1) as slow, made.connect() as quick:
            await subscribe(slow)
            await subscribe(quick)
            slow.transport.pause_reading()
            for number in range(2000):
                made.call(str(number), "nobody")
                if number % 20 == 0:
                    await asyncio.sleep(0)
            await until(lambda: len(made.hub.live.state()["calls"]) == 2000, "all calls are there")
            first, behind = 2000, []
            while not behind:  # noticed with the next that is to be sent
                made.call(str(first), "nobody")
                first += 1
                await asyncio.sleep(2 * GATHER_S)
                behind = [each for each in made.hub.sockets.browsers if each.behind_since is not None]
            assert len(behind) == 1, "the other one reads"
            held = behind[0].waiting
            for number in range(first, 3000):
                made.call(str(number), "nobody")
            await until(lambda: len(made.hub.live.state()["calls"]) == 3000, "more calls are there")
            assert behind[0].waiting == held, "nothing piles up"
            slow.transport.resume_reading()
            while True:
                told = await hear(slow, "snapshot")
                if told["room"] == "calls":
                    break
            assert len(told["data"]["call"]) == 3000

    run(work(), 60)


def test_a_snapshot_larger_than_that_is_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BEHIND_BYTES", 1000)

    async def work() -> None:
        async with bed(tmp_path) as made:
            for number in range(3000):
                made.call(str(number), "nobody")
            await until(lambda: len(made.hub.live.state()["calls"]) == 3000, "all calls are there")
            async with made.connect(max_queue=1) as browser:
                await browser.send(json.dumps({"type": "subscribe", "rooms": ["calls"]}))
                await until(
                    lambda: any(each.waiting > 100_000 for each in made.hub.sockets.browsers), "it is on its way"
                )
                made.call("3000", "nobody")
                await until(lambda: len(made.hub.live.state()["calls"]) == 3001, "another call is there")
                assert (await hear(browser, "snapshot"))["room"] == "calls"
                assert (await hear(browser, "call"))["data"]["id"] == "c-1.3000"

    run(work(), 60)


def test_one_who_never_reads_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BEHIND_BYTES", 10_000)
    monkeypatch.setattr(sockets, "TOO_SLOW_S", 0.1)

    async def work() -> None:
        async with bed(tmp_path) as made, made.connect(max_queue=1) as slow:
            await subscribe(slow)
            slow.transport.pause_reading()
            for number in range(2000):
                made.call(str(number), "nobody")
            await until(lambda: not made.hub.sockets.browsers, "it is gone", 20)
            slow.transport.resume_reading()
            await close_code(slow)

    run(work(), 60)


def test_every_close_code_and_type_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "hub.md").read_text()
    for code, meaning in CLOSE_CODES.items():
        assert f"| {code} | {meaning} |" in page
    for name in (*TYPES, *ROOMS):
        assert f"`{name}`" in page, name


def test_fields_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "hub.md").read_text()
    live = traces.begun(traces.read()[0], {})
    for _ in traces.follow(live, traces.read(), 1):
        live.changes()
        for room, found in live.state().items():
            for item in found.values():
                for name in (
                    *item,
                    *(key for part in (*item.get("parties", ()), *item.get("devices", ())) for key in part),
                ):
                    assert f"`{name}`" in page, f"{room}: {name}"
