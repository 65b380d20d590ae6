"""One HTTPS request to an address that was checked: no redirect is followed, no proxy asked, nothing more read than is needed.

A name is resolved once, and the connection goes to an address that was looked at then; the certificate is checked for the name
(RFC 9110 section 4.3.4). So a name can't lead to this machine's own services by being resolved a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from appliance import tls
from appliance.core.errors import RefusedError
from appliance.notifications.verify import forbidden

CONNECT_S: Final = 10.0
WHOLE_S: Final = 30.0
"""From resolving the name to the end of the answer."""
ANSWER_MAX: Final = 64 * 1024
"""Bytes of an answer that are read; what matters is its status."""
_RESOLVERS: Final = ThreadPoolExecutor(64, thread_name_prefix="resolve")
"""Name servers that don't answer hold up nobody but those that they are asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to, and how the server is known.

    :param authority: PEM of who signed its certificate; None: the public authorities of this machine.
    :param allow_local: loopback and link-local addresses are meant.
    """

    url: str
    authority: str | None = None
    allow_local: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. ``status`` None: no answer. ``error`` empty: it was taken (2xx). ``retry_after_s``: as asked for."""

    status: int | None
    error: str = ""
    retry_after_s: float | None = None


async def resolved(host: str, port: int, *, allow_local: bool) -> list[str]:
    """Addresses of a host that may be connected to.

    :raises RefusedError: ``local_address``: there are none but our own.
    :raises OSError: the name can't be resolved.
    """
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_RESOLVERS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    good = [each for each in addresses if allow_local or not forbidden(ipaddress.ip_address(each.partition("%")[0]))]
    if not good:
        message = f"{host} leads to this machine itself ({', '.join(addresses)})"
        raise RefusedError(message, "if that is meant, set allow_local", error_id="local_address")
    return good


class Web:
    """Requests to one place; connections are kept for the next one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._url = httpx.URL(place.url)
        self._client = httpx.AsyncClient(
            verify=tls.context(place.authority),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(WHOLE_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30),
            headers={"User-Agent": "Centralino"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        for _ in range(3):  # sockets are closed in the loop's next rounds (asyncio, transports)
            await asyncio.sleep(0)

    async def send(
        self,
        method: str,
        content: bytes | AsyncIterable[bytes],
        headers: Mapping[str, str],
        *,
        behind: str = "",
        whole_s: float | None = None,
    ) -> Answer:
        """Send a request; never raises but for being cancelled.

        :param behind: put behind the URL's path, as one more segment.
        :param whole_s: seconds that it may take; None: :data:`WHOLE_S`.
        """
        whole_s = WHOLE_S if whole_s is None else whole_s
        try:
            async with asyncio.timeout(whole_s):
                return await self._send(method, content, headers, behind)
        except TimeoutError:
            return Answer(None, f"no answer within {whole_s:g} s")
        except RefusedError as error:
            return Answer(None, error.message)
        except httpx.TimeoutException:
            return Answer(None, f"no answer within {WHOLE_S:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Answer(None, _why_not(error))

    async def _send(
        self, method: str, content: bytes | AsyncIterable[bytes], headers: Mapping[str, str], behind: str
    ) -> Answer:
        url = self._url
        if behind:
            url = url.copy_with(path=url.path.rstrip("/") + "/" + behind)
        port = url.port or 443
        name = url.raw_host.decode("ascii").strip("[]")
        addresses = await resolved(name, port, allow_local=self.place.allow_local)
        host = url.netloc.decode("ascii")
        for index, address in enumerate(addresses):
            request = self._client.build_request(
                method,
                url.copy_with(host=address.partition("%")[0]),
                content=content,
                headers={**headers, "Host": host},
                extensions={"sni_hostname": name},
            )
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if index + 1 == len(addresses):
                    raise
                continue
            return await _answer(response)
        raise OSError("no address")  # unreachable: there is always one


async def _answer(response: httpx.Response) -> Answer:
    status = response.status_code
    try:
        # Read to its end, the connection serves again; a receiver that talks on for ever is cut off.
        with contextlib.suppress(httpx.HTTPError):  # the status is the answer, whatever comes behind it
            read = 0
            async for piece in response.aiter_raw():
                read += len(piece)
                if read > ANSWER_MAX:
                    break
    finally:
        with contextlib.suppress(httpx.HTTPError, OSError):
            await response.aclose()
    if 200 <= status < 300:
        return Answer(status)
    if 300 <= status < 400:
        return Answer(status, f"HTTP {status}: redirects aren't followed")
    return Answer(status, f"HTTP {status}", _retry_after(response.headers.get("Retry-After")))


def _retry_after(text: str | None) -> float | None:
    """Seconds (RFC 9110 section 10.2.3)."""
    if not text:
        return None
    if text.strip().isdecimal() and len(text.strip()) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, (when - when.now(when.tzinfo)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _why_not(error: Exception) -> str:
    """Why it failed, without the URL: a receiver may keep a token in it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate isn't trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'no reason given'}"
        if isinstance(cause, socket.gaierror):
            return "its name can't be resolved"
        if isinstance(cause, OSError) and cause.errno:
            return f"it can't be reached: {os.strerror(cause.errno)}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return "it can't be reached"
    if isinstance(error, httpx.RemoteProtocolError):
        return "what it answered is no HTTP"
    return f"it broke off ({type(error).__name__})"
