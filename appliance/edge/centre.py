"""What an edge asks the centre through its tunnel (:mod:`appliance.vpn.inside` answers). Authenticated by certificates at both ends, and
no clock is trusted: whoever the centre's certificate was good for once, it is good for."""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Self

import httpx

from appliance.core.errors import CentralinoError, CorruptError, RefusedError, UnavailableError
from appliance.edge.journal import Event
from appliance.edge.reach.way import Way
from appliance.edge.states import State
from appliance.edge.tunnel import INTERFACE
from appliance.vpn.inside.reports import Report
from appliance.vpn.pki import Purpose, verified
from appliance.vpn.slices import FORMATS

NO_CHECK_TIME: Final = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME`` of OpenSSL, which Python doesn't name."""
BODY_MAX: Final = 8 * 1024 * 1024
CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0


class Centre:
    """The centre as one state of the edge reaches it: an asynchronous context manager.

    Whatever it can't reach is an UnavailableError (``centre_away``); what the centre refuses keeps its error id.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the chain and its usage say that it is a server of ours: nobody else has one
        context.verify_flags |= NO_CHECK_TIME
        context.load_verify_locations(str(state.root_file))
        context.load_cert_chain(str(state.identity_file))
        self._client = httpx.AsyncClient(
            verify=context, trust_env=False, timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=120),
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.aclose()

    async def slice(self, digest: str, wait_s: float) -> bytes | None:
        """The signed slice, if it is another than that; None: after so long it is still that one."""
        query = {"formats": ",".join(map(str, FORMATS)), "wait": f"{wait_s:g}"}
        return await self._asked("GET", "/slice", query=query, etag=digest, more_s=wait_s)

    async def report(self, report: Report) -> None:
        """Tell how we stand."""
        await self._asked("POST", "/applied", body=report.model_dump_json().encode())

    async def events(self, journal: str, events: Sequence[Event]) -> int:
        """Tell what happened; the last number that the centre has now. :raises RefusedError: ``nothing_here``: it is of a release that doesn't ask."""
        plain = {"journal": journal, "events": [asdict(each) for each in events]}
        answer = _plain(await self._asked("POST", "/events", body=json.dumps(plain).encode()))
        if not isinstance(answer.get("taken"), int):
            raise _garbled()
        return int(answer["taken"])

    async def measure(self) -> tuple[int, bytes]:
        """A session to measure the tunnel with: its number and key (:mod:`appliance.failover.stamp`).

        :raises RefusedError: ``nothing_here``: it is of a release that doesn't answer. :raises UnavailableError: ``measuring``.
        """
        answer = _plain(await self._asked("POST", "/measure", body=b"{}"))
        try:
            return int(answer["session"]), bytes.fromhex(answer["key"])
        except (KeyError, ValueError, TypeError) as error:
            raise _garbled() from error

    async def measured(self) -> tuple[int, float]:
        """How many packets have reached the centre, and its longest time without any, ms; the session is over."""
        answer = _plain(await self._asked("POST", "/measured", body=b"{}"))
        try:
            return int(answer["received"]), float(answer["gap_ms"])
        except (KeyError, ValueError, TypeError) as error:
            raise _garbled() from error

    async def renew(self, request: bytes) -> tuple[bytes, bytes]:
        """Certificate with the intermediate's (PEM), and tls-crypt-v2 key, for a CSR."""
        answer = _plain(await self._asked("POST", "/renew", body=request))
        try:
            return answer["certificate"].encode(), answer["tunnel_key"].encode()
        except (KeyError, AttributeError) as error:
            raise _garbled() from error

    async def time(self) -> int:
        """What time it is there, ms since 1970, surely said just now."""
        nonce = secrets.token_hex(24)
        content = await self._asked("GET", "/time", query={"nonce": nonce})
        said = _plain(verified(content or b"", Purpose.TIME, self._state.root))
        if said.get("nonce") != nonce or not isinstance(said.get("time"), int):
            raise RefusedError("the time that came isn't the answer to our question", "", error_id="time_refused")
        return int(said["time"])

    async def bans(self, etag: str) -> bytes | None:
        """Who is kept out at the centre; None: as before, or nothing is shared."""
        try:
            content = await self._asked("GET", "/bans", etag=etag)
        except CentralinoError as error:
            if error.error_id == "nothing_here":
                return None
            raise
        return None if content is None else verified(content, Purpose.BANS, self._state.root)

    async def _asked(
        self, method: str, path: str, *, query: dict[str, str] | None = None, etag: str | None = None,
        body: bytes | None = None, more_s: float = 0.0,
    ) -> bytes | None:  # fmt: skip
        """From the first of the centre's addresses that answers; None: not modified."""
        slice = self._state.slice
        last: Exception | None = None
        for address in slice.inside:
            host = f"[{address}]" if ":" in address else address
            url = f"https://{host}:{slice.inside_port}{path}"
            headers = {} if etag is None else {"if-none-match": f'"{etag}"'}
            try:
                _leads_there(address, slice.inside_port)
                async with self._stream(method, url, query, headers, body, more_s) as answer:
                    content = await _bounded(answer)
            except (httpx.HTTPError, OSError) as error:
                last = error
                continue
            if answer.status_code == 304:
                return None
            if answer.status_code != 200:
                raise _refused(answer.status_code, content)
            return content
        raise UnavailableError(
            f"the centre can't be reached through the tunnel: {last}", "the edge goes on with what it has, and tries again",
            error_id="centre_away",
        )  # fmt: skip

    @asynccontextmanager
    async def _stream(
        self, method: str, url: str, query: dict[str, str] | None, headers: dict[str, str], body: bytes | None, more_s: float
    ) -> AsyncIterator[httpx.Response]:  # fmt: skip
        timeout = httpx.Timeout(ANSWER_S + more_s, connect=CONNECT_S)
        async with self._client.stream(
            method, url, params=query, headers=headers, content=body, timeout=timeout
        ) as answer:
            yield answer


def _leads_there(address: str, port: int) -> None:
    """:raises OSError: the tunnel doesn't, now. A connection that is begun then would go out by a line, to nobody, and be waited for until
    long after the tunnel is up."""
    host = ipaddress.ip_address(address)
    way = Way(host, "" if host.is_loopback else INTERFACE)
    try:
        with way.opened(socket.SOCK_DGRAM) as asked:
            asked.connect(way.to(port))
    except CentralinoError as error:
        raise OSError(error.message) from error


async def _bounded(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > BODY_MAX:
            raise _garbled()
    return bytes(content)


def _plain(content: bytes | None) -> dict[str, Any]:
    try:
        plain = json.loads(content or b"")
    except (ValueError, RecursionError) as error:
        raise _garbled() from error
    if not isinstance(plain, dict):
        raise _garbled()
    return plain


def _refused(status: int, content: bytes) -> CentralinoError:
    plain = _plain(content)
    texts = {key: str(plain.get(key) or "")[:500] for key in ("error_id", "message", "hint")}
    if not texts["error_id"]:
        return _garbled()
    kind = UnavailableError if status >= 500 else RefusedError
    return kind(texts["message"], texts["hint"], error_id=texts["error_id"])


def _garbled() -> CorruptError:
    return CorruptError(
        "the centre said something that can't be read", "see the centre's log", error_id="centre_garbled"
    )
