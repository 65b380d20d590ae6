"""The asynchronous stream of events: answers find their actions, losses are told, connections come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine import ami_stream
from appliance.engine.ami_messages import Message
from appliance.engine.ami_stream import AmiSession, AmiStream, Place
from tests.hil.agents.ami_replay import AmiReplay
from tests.unit.hub.loops import run, until

SECRET = "manager-password"


class Recorder:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.sessions: list[AmiSession] = []
        self.events: list[Message] = []
        self.losses: list[str] = []
        self.fail = False

    async def connected(self, session: AmiSession) -> None:
        self.sessions.append(session)

    def event(self, message: Message) -> None:
        if self.fail:
            self.fail = False
            raise ValueError("a mistake of the listener's")
        self.events.append(message)

    def lost(self, reason: str) -> None:
        self.losses.append(reason)


def streaming(work: Callable[[AmiReplay, Recorder], Awaitable[None]]) -> None:
    async def within() -> None:
        async with AmiReplay(SECRET) as engine:
            listener = Recorder()
            place = Place(lambda: SECRET, port=engine.port)
            stream = asyncio.create_task(AmiStream(place, listener, events="call", only=("Newstate",)).run())
            await until(lambda: listener.sessions, "it is connected")
            try:
                await work(engine, listener)
            finally:
                stream.cancel()
                await asyncio.gather(stream, return_exceptions=True)

    run(within())


def test_answers_find_their_actions_among_events() -> None:
    async def work(engine: AmiReplay, listener: Recorder) -> None:
        engine.tables["Status"] = [[("Event", "Status"), ("Channel", f"a/{number}")] for number in range(50)]
        session = listener.sessions[0]
        asked = [asyncio.create_task(session.list("Status")) for _ in range(20)]
        for number in range(100):
            engine.send([("Event", "Newstate"), ("Uniqueid", str(number))])
        found = await asyncio.gather(*asked, session.list("PJSIPShowContacts"))
        assert [len(rows) for rows in found] == [50] * 20 + [0]
        await until(lambda: len(listener.events) == 100, "all events came")
        assert [event["Uniqueid"] for event in listener.events] == [str(number) for number in range(100)]

    streaming(work)


def test_it_comes_back_as_often_as_needed_and_tells_each_loss() -> None:
    async def work(engine: AmiReplay, listener: Recorder) -> None:
        for number in range(1, 4):
            losses = len(listener.losses)
            await engine.die()
            await until(lambda known=losses: len(listener.losses) > known, "the loss is told")
            await engine.listen()
            await until(lambda wanted=number: len(listener.sessions) == wanted + 1, "it is connected again")
        with pytest.raises(UnavailableError):
            await listener.sessions[0].action("Ping")
        engine.send([("Event", "Newstate"), ("Uniqueid", "late")])
        await until(lambda: listener.events, "events come again")

    streaming(work)


def test_who_waits_for_an_answer_hears_of_the_loss() -> None:
    async def work(engine: AmiReplay, listener: Recorder) -> None:
        engine.silent = True
        waiting = asyncio.create_task(listener.sessions[0].action("Status"))
        await asyncio.sleep(0)
        await engine.die()
        with pytest.raises(UnavailableError):
            await waiting
        with pytest.raises(UnavailableError):
            await listener.sessions[0].action("Status")
        await engine.listen()

    streaming(work)


def test_an_answer_that_doesn_t_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ami_stream, "PING_S", 60.0)

    async def work(engine: AmiReplay, listener: Recorder) -> None:
        engine.silent = True
        with pytest.raises(UnavailableError, match="no answer to Status in time"):
            await listener.sessions[0].action("Status", timeout_s=0.05)
        engine.silent = False
        assert (await listener.sessions[0].action("Ping"))[0].succeeded

    streaming(work)


def test_a_mistake_of_the_listener_s_ends_the_connection_not_the_stream() -> None:
    async def work(engine: AmiReplay, listener: Recorder) -> None:
        listener.fail = True
        engine.send([("Event", "Newstate"), ("Uniqueid", "1")])
        await until(lambda: len(listener.sessions) == 2, "it begins anew")
        assert listener.losses

    streaming(work)
