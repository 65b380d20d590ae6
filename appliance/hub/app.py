"""The hub's web application: ``/live``, a WebSocket, and ``/health``. Protocol: docs/hub.md."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from quart import Quart, Response, websocket
from quart.typing import ResponseReturnValue
from werkzeug.datastructures import Headers

from appliance.access.sessions import COOKIE
from appliance.core.errors import Fault, InvalidError
from appliance.hub.inside import inside
from appliance.hub.rooms import HUB, ROOMS, frame, text
from appliance.hub.service import Hub
from appliance.hub.sockets import Browser
from appliance.hub.subject import Authenticator, Subject
from appliance.hub.wire import transport_of, uncompressed

_log = logging.getLogger("centralino.hub")

CLOSE_CODES: Final = {
    1001: "the hub stops; connect again soon",
    1009: "a message longer than 16 KiB",
    4400: "a message that isn't understood; an error message went before",
    4401: "the session has ended; sign in again",
    4408: "nothing was subscribed to within 10 s",
}
"""Close codes of ``/live`` (RFC 6455, 7.4) → what they mean."""
BAD_MESSAGE, SIGNED_OUT, SILENT = 4400, 4401, 4408
GOING_AWAY: Final = 1001
SUBSCRIBE_S: Final = 10.0
LOOK_AGAIN_S: Final = 30.0
"""Pause between two looks whether the session is still one."""
SESSION_SOCKETS: Final = 10
"""Sockets that one session may have: so many open tabs."""
MESSAGE_MAX: Final = 16 * 1024
MESSAGES_PER_MINUTE: Final = 30
"""Subscriptions that a browser may send: each may cost a snapshot."""


def create_app(hub: Hub, authenticator: Authenticator) -> Quart:
    """The application; it runs the hub's work for as long as it is served."""
    app = Quart("appliance.hub")
    app.asgi_app = _HandingOverSend(app.asgi_app)  # type: ignore[method-assign]
    work: set[asyncio.Task[None]] = set()

    @app.before_serving
    async def begin() -> None:
        task = asyncio.create_task(hub.run())
        work.add(task)
        task.add_done_callback(_end_with)

    @app.after_serving
    async def finish() -> None:
        for task in work:
            task.remove_done_callback(_end_with)
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    @app.get("/health")
    async def health() -> ResponseReturnValue:
        told = {"state": "stale" if hub.sockets.stale else "live", "reason": hub.sockets.stale}
        return Response(json.dumps(told | {"sockets": len(hub.sockets.browsers)}), mimetype="application/json")

    app.register_blueprint(inside(hub))

    @app.websocket("/live")
    async def live() -> ResponseReturnValue | None:
        return await _live(hub, authenticator)

    return app


def _end_with(task: asyncio.Task[None]) -> None:
    """The hub's work must not end before the hub: whoever started us starts us again."""
    if not task.cancelled():
        _log.critical("the hub's work has ended", exc_info=task.exception())
        asyncio.get_running_loop().call_soon(_stop)


def _stop() -> None:
    raise SystemExit(1)


class _HandingOverSend:
    """ASGI middleware: the server's own ``send`` is found in the scope of a WebSocket."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            scope["centralino.send"] = send
        await self._app(scope, receive, send)


async def _live(hub: Hub, authenticator: Authenticator) -> ResponseReturnValue | None:
    """One socket from beginning to end. Refusals come before the handshake, as HTTP, and say no more than their status."""
    if not _own_page(websocket.headers):
        return Response(status=403)
    token, address = websocket.cookies.get(COOKIE, ""), _address()
    subject = await asyncio.to_thread(authenticator.subject, token, address) if token else None
    if subject is None:
        return Response(status=401)
    session = hashlib.blake2s(token.encode()).hexdigest()
    if hub.sockets.of_session(session) >= SESSION_SOCKETS:
        return Response(status=429)
    send = websocket.scope["centralino.send"]  # type: ignore[typeddict-item]
    uncompressed(send)
    browser = Browser(transport_of(send), subject, session)
    hub.sockets.browsers.add(browser)  # before anything is awaited: they are counted
    try:
        await websocket.accept()
        code = await _converse(hub, browser, authenticator, token, address)
        await websocket.close(code)
    finally:
        hub.sockets.browsers.discard(browser)
    return None


def _own_page(headers: Headers) -> bool:
    """Whether a page of ours connects: WebSockets know no same-origin policy (RFC 6455, 10.2), the cookie comes with
    pages of anybody's."""
    try:
        origin = urlsplit(headers.get("Origin", ""))
    except ValueError:
        return False
    return origin.scheme == "https" and bool(origin.netloc) and origin.netloc == headers.get("Host")


def _address() -> str:
    """The browser's, as the gate tells it."""
    return websocket.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()


async def _converse(hub: Hub, browser: Browser, authenticator: Authenticator, token: str, address: str) -> int:
    """Take messages until something ends it; the close code."""
    tasks = [
        asyncio.create_task(_listen(hub, browser)),
        asyncio.create_task(_look_after(hub, browser, lambda: authenticator.subject(token, address))),
    ]
    try:
        done, _ = await asyncio.wait([*tasks, browser.closing], return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(hub: Hub, browser: Browser) -> int:
    """Messages of the browser."""
    times: deque[float] = deque(maxlen=MESSAGES_PER_MINUTE)
    while True:
        try:
            wait = SUBSCRIBE_S if not browser.rooms else None
            async with asyncio.timeout(wait):
                received = await websocket.receive()
        except TimeoutError:
            return SILENT
        try:
            if len(times) == MESSAGES_PER_MINUTE and time.monotonic() - times[0] < 60:
                raise _invalid("type", "comes too often", f"at most {MESSAGES_PER_MINUTE} messages a minute")
            times.append(time.monotonic())
            rooms, epoch, seq = subscription(received)
        except InvalidError as error:
            fault = error.faults[0]
            told = {"error_id": fault.error_id, "field": fault.path, "message": fault.message, "hint": fault.hint}
            browser.send(frame((text("error", hub.rooms.seq, HUB, told),)))
            return BAD_MESSAGE
        hub.sockets.subscribe(browser, rooms, epoch, seq)


def subscription(received: str | bytes) -> tuple[list[str], str, int]:
    """Rooms, epoch and number of ``{"type": "subscribe", "rooms": […], "epoch": "…", "seq": 12}``.

    Without ``epoch`` and ``seq``: from the beginning.

    :raises InvalidError: it is something else.
    """
    try:
        message = json.loads(received) if isinstance(received, str) else None
    except ValueError:
        message = None
    if not isinstance(message, dict) or message.get("type") != "subscribe":
        raise _invalid(
            "type", "is no message that the hub knows", 'the only one is {"type": "subscribe", "rooms": […]}'
        )
    rooms, epoch, seq = message.get("rooms"), message.get("epoch", ""), message.get("seq", 0)
    if not (isinstance(rooms, list) and rooms and all(isinstance(room, str) and room in ROOMS for room in rooms)):
        raise _invalid("rooms", "is no list of rooms", f"rooms are {', '.join(ROOMS)}")
    if not isinstance(epoch, str) or len(epoch) > 64:
        raise _invalid("epoch", "is no epoch", "take it from hello")
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise _invalid("seq", "is no number of a message", "the last that was seen")
    return list(dict.fromkeys(rooms)), epoch, seq


def _invalid(name: str, message: str, hint: str) -> InvalidError:
    return InvalidError([Fault(f"hub/subscribe/{name}", message, hint, "hub_message")])


async def _look_after(hub: Hub, browser: Browser, ask: Callable[[], Subject | None]) -> int:
    """Look now and then whether the session still is one, and of whom."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        began = time.monotonic()
        subject = await asyncio.to_thread(ask)
        if subject is None:
            return SIGNED_OUT
        if subject != browser.subject:
            browser.subject = subject
            with contextlib.suppress(ConnectionError):
                hub.sockets.start_over(browser)
        if time.monotonic() - began > LOOK_AGAIN_S:
            _log.warning("sessions are slow to look up")


__all__ = ["CLOSE_CODES", "GOING_AWAY", "create_app", "subscription"]
