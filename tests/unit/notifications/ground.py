"""What tests of the sender stand on: a history with notices, a document with endpoints, and a sender that runs."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.history import notice, outbox
from appliance.history.notice import Notice
from appliance.notifications.config import Config
from appliance.notifications.events import Names
from appliance.notifications.model import NotificationEndpoint, WebhookEndpoint, WebReceiver
from appliance.notifications.queue import Queue
from appliance.notifications.sender import Sender
from appliance.notifications.service import Deliveries, Delivery
from appliance.store.database import Database
from appliance.store.history import open_history
from tests.unit.notifications.receiver import authority

FACTS: dict[str, Any] = {
    "direction": "inbound", "from_device": "", "from_extension": "", "from_number": "+390200000123", "from_name": "Anna", "from_trunk": "line",
    "from_site": "", "dialled": "+390200001000", "called_device": "201-desk", "called_extension": "201", "reached": "201", "reached_site": "hq",
    "trunk": "line", "started": 1_795_406_000_000,
}  # fmt: skip
END: dict[str, Any] = {
    **FACTS, "outcome": "answered", "rang": 1_795_406_000_100, "answered": 1_795_406_002_000, "ended": 1_795_406_062_500,
    "talk_ms": 60_500, "ring_ms": 1_900, "loss_percent": 0.5, "jitter_ms": 3.25, "round_trip_ms": 20.0, "transfers": [],
    "incomplete": False, "history_id": 7,
}  # fmt: skip
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


def call(key: str, *types: str) -> list[Notice]:
    """Notices of one call."""
    return [Notice(type, key, 1_795_406_000_000, END if type in (notice.ENDED, notice.MISSED) else {**FACTS, "answered": 1}) for type in types]  # fmt: skip


WHOLE = (notice.STARTED, notice.ANSWERED, notice.ENDED)


@dataclass
class Document:
    """Stands in for the source: what the document says, and the secrets that were handed over."""

    endpoints: dict[str, NotificationEndpoint] = field(default_factory=dict)
    handed: dict[str, str] = field(default_factory=lambda: {"hook": SECRET})
    revision: int = 1
    _config: Config = field(default_factory=Config)

    def put(self, id: str, url: str, **fields: Any) -> None:
        target = {"url": url, "secret": "hook", "allow_local": True, "authority": authority().pem}
        of_target = {name: fields.pop(name) for name in list(fields) if name in WebhookEndpoint.model_fields}
        self.endpoints[id] = NotificationEndpoint(id=id, name=id, target=WebhookEndpoint(**{**target, **of_target}), **fields)  # fmt: skip
        self.revision += 1

    def current(self) -> Config:
        if self._config.revision != self.revision:
            self._config = Config(self.revision, dict(self.endpoints), {}, {}, Names({"201": ("anna", "Anna B.")}))
        return self._config

    def secrets(self, target: WebReceiver) -> list[str]:
        new = self.handed.get(target.secret)
        old = self.handed.get(target.previous_secret or "")
        return [each for each in (new, old) if each] if new else []

    def secret(self, id: str) -> str | None:
        return self.handed.get(id)


class Ground:
    """One history on SQLite, one document."""

    def __init__(self, work: Path) -> None:
        self.url = f"sqlite:///{work}/history.db"
        self.database: Database = open_history(self.url)
        self.document = Document()
        self.queue = Queue(self.database)
        self.deliveries = Deliveries(self.database)

    def notice(self, *notices: Notice | Sequence[Notice]) -> None:
        flat = [each for one in notices for each in (one if isinstance(one, Sequence) else [one])]
        with self.database.write() as connection:
            outbox.put(connection, flat)

    def listed(self, **filter: Any) -> list[Delivery]:
        return self.deliveries.listed(limit=1000, **filter)

    def close(self) -> None:
        self.database.close()


@asynccontextmanager
async def sending(ground: Ground) -> AsyncIterator[Sender]:
    """A sender at work, looking at the document at each turn."""
    sender = Sender(ground.queue, ground.document)  # type: ignore[arg-type]
    await sender.start()
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            sender._looked = -1000.0
            await sender.turn()
            await sender.pause()

    task = asyncio.create_task(work())
    try:
        yield sender
    finally:
        stop.set()
        await task
        await sender.close(0.2)


async def until(what: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What it gives, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.01)
    return found


def body(delivery: Delivery) -> Any:
    return json.loads(delivery.body)
