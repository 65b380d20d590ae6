"""``python -m bench.hub_process [ours|naive]``: the hub with a thousand sessions, or the baseline in its place.

The baseline knows the same state by the same code, and sends it as one would at first: every message is made into text for
each socket, and goes there by way of Quart, one after the other. It gathers and filters like ours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from quart import websocket

from appliance.hub import app as hub_app
from appliance.hub.rooms import Entry, Rooms
from appliance.hub.run import main
from appliance.hub.sockets import Browser, Sockets
from appliance.hub.subject import Message, Subject

VIEWS = 20
"""So many different sets of rights among the users."""


class Sessions:
    """``user-17`` has extension ``ext-1017``."""

    def subject(self, token: str, address: str) -> Subject | None:  # noqa: ARG002
        number = int(token.removeprefix("user-"))
        return Subject(token, ("role", number % VIEWS), frozenset((f"ext-{1000 + number}",)))


def visible(subject: Subject, message: Message) -> Message | None:
    """Everything, but one set of rights without the names."""
    if subject.view == ("role", 1) and message.type == "extension" and message.room != "me":
        return message.with_data({key: value for key, value in message.data.items() if key != "name"})
    return message


class NaiveSockets(Sockets):
    """Text for each socket and message, and a queue for each socket."""

    queues: ClassVar[dict[Browser, asyncio.Queue[str]]] = {}

    def publish(self, entries: Sequence[Entry]) -> None:
        for browser in self.browsers:
            queue = self.queues.setdefault(browser, asyncio.Queue())
            for entry in entries:
                for room in naive_rooms(entry, browser):
                    seen = visible(browser.subject, Message(entry.type, room, entry.after or {"id": entry.id}))
                    type = entry.type if entry.after is not None else f"{entry.type}_gone"
                    if seen is not None:
                        told = {"type": type, "seq": entry.seq, "room": room, "data": dict(seen.data)}
                        queue.put_nowait(json.dumps(told))


def naive_rooms(entry: Entry, browser: Browser) -> list[str]:
    """The rooms in which a browser sees a delta."""
    rooms = [entry.room] if entry.room in browser.rooms else []
    return rooms + (["me"] if "me" in browser.rooms and entry.owners & browser.subject.extensions else [])


def make_naive() -> None:
    """Put the baseline in place of ours."""
    from appliance.hub import service

    vars(service)["Sockets"] = NaiveSockets
    converse = hub_app._converse

    async def with_queue(hub: Any, browser: Browser, *rest: Any) -> int:
        queue = NaiveSockets.queues.setdefault(browser, asyncio.Queue())

        async def pump() -> None:
            while True:
                await websocket.send(await queue.get())

        pumping = asyncio.create_task(pump())
        try:
            return await converse(hub, browser, *rest)
        finally:
            pumping.cancel()

    vars(hub_app)["_converse"] = with_queue


if __name__ == "__main__":
    if sys.argv[1:] == ["naive"]:
        make_naive()
    sys.exit(main(Sessions(), visible))


__all__ = ["Rooms", "Sessions", "visible"]
