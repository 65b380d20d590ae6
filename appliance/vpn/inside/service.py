"""What an edge asks the centre through its tunnel, and what it is answered. Who asks is known by its certificate.

====================  ===========================================================================================
``GET /slice``        ``?formats=1,2&wait=50``, ``If-None-Match``: the signed slice; 304: it has that one still, after waiting
``POST /applied``     how it stands with a slice (:class:`~.reports.Report`)
``POST /renew``       a CSR; the new certificate, the intermediate, a tls-crypt-v2 key. The former ends when the new one is used
``POST /events``      what happened there (:class:`~.events.Batch`); the last number that is written. 503: none could be
``POST /measure``     a session to measure the tunnel with (:mod:`.measuring`): its number and key; the site's former one ends
``POST /measured``    how it was: probes that came, the longest time without any; it is over
``GET /time``         ``?nonce=…``: signed, with the nonce
``GET /bans``         ``If-None-Match``: who is kept out, signed; 404: nothing is shared
====================  ===========================================================================================

Errors are JSON: ``error_id``, ``message``, ``hint``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from cryptography import x509

from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.failover.stamp.reflector import Reflector
from appliance.vpn.inside import events, measuring
from appliance.vpn.inside.events import Events
from appliance.vpn.inside.http import Answer, Request
from appliance.vpn.inside.reports import Reports, read
from appliance.vpn.pki import Authority, Issued, Purpose, Role, certificates
from appliance.vpn.slices import Slices, common, known, signed

_log = logging.getLogger("centralino.vpn.inside")
T = TypeVar("T")

FRESH_S: Final = 1.0
"""How long we go by what we know of certificates."""
LOOK_S: Final = 1.0
"""Who waits for another slice is told within this, of the moment when it is in force."""
WAIT_MAX_S: Final = 60.0
_NONCE: Final = re.compile(r"[0-9a-f]{32,128}")

Bans = Callable[[str], bytes | None]
"""Site → what it is told of who is kept out; None: nothing."""


def no_bans(_site: str) -> bytes | None:
    """Nothing is shared."""
    return None


class Inside:
    """See this module. Close it when done."""

    def __init__(
        self, authority: Authority, slices: Slices, reports: Reports, events: Events, bans: Bans = no_bans,
        reflector: Reflector | None = None,
    ) -> None:  # fmt: skip
        self._authority, self._slices, self._reports, self._bans = authority, slices, reports, bans
        self._events = events
        self._reflector = reflector or Reflector()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="authority")
        self._living: dict[str, Issued] = {}
        self._looked = 0.0
        self._confirmed: set[str] = set()
        self._looking = asyncio.Lock()

    def close(self) -> None:
        """Nothing is answered any more."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def answer(self, request: Request) -> Answer:
        """Of one request; raises nothing of ours."""
        try:
            serial = certificates.hexadecimal(x509.load_der_x509_certificate(request.peer).serial_number)
            who = await self._who(serial)
            if who is None:
                return _over()
            return await self._answered(request, who)
        except InvalidError as error:
            return _told(400, error)
        except NotFoundError as error:
            return _told(404, error)
        except RefusedError as error:
            return _told(409, error)
        except CentralinoError as error:
            _log.error("%s %s: %s", request.method, request.path, error)
            return _told(503, error)

    async def _answered(self, request: Request, who: Issued) -> Answer:
        match request.method, request.path:
            case "GET", "/slice":
                return await self._slice(request, who)
            case "POST", "/applied":
                return await self._applied(request, who)
            case "POST", "/events":
                return await self._happened(request, who)
            case "POST", "/measure":
                session = self._reflector.begin(who.site, time.monotonic())
                return _json({"session": session.number, "key": session.key.hex()})
            case "POST", "/measured":
                return self._measured(who)
            case "POST", "/renew":
                return await self._renew(request, who)
            case "GET", "/time":
                return await self._time(request)
            case "GET", "/bans":
                return await self._banned(request, who)
        raise NotFoundError(
            "there is nothing here", "centre and edge speak different releases", error_id="nothing_here"
        )

    async def _who(self, serial: str) -> Issued | None:
        """Whose certificate that is, if it is a branch's that is let in; the first use of a renewed one ends the former."""
        async with self._looking:
            if time.monotonic() - self._looked >= FRESH_S:
                found = await self._do(self._authority.living)
                self._living = {each.serial: each for each in found if each.role is Role.BRANCH}
                self._looked = time.monotonic()
        who = self._living.get(serial)
        if who is not None and who.replaces in self._living and serial not in self._confirmed:
            ended = await self._do(lambda: self._authority.confirm(serial))
            self._confirmed.add(serial)
            _log.info("%s came in: %s ended", who.name, ", ".join(each.name for each in ended) or "nothing")
        return who

    async def _slice(self, request: Request, who: Issued) -> Answer:
        try:
            formats = [int(each) for each in request.query.get("formats", "").split(",") if each]
            wait = min(WAIT_MAX_S, max(0.0, float(request.query.get("wait", "0"))))
        except ValueError as error:
            raise _bad("formats", "formats are numbers, wait is seconds") from error
        format = common(formats)
        until = time.monotonic() + wait
        while True:
            slice = known(self._slices.of(who.site), format)  # a small file at most, once for each generation
            if slice.digest != request.etag:
                signer = await self._do(self._authority.signer)
                return Answer(200, signed(slice, signer, format), slice.digest)
            if time.monotonic() >= until:
                return Answer(304, etag=slice.digest)
            await asyncio.sleep(LOOK_S)
            if await self._who(who.serial) is None:
                return _over()

    async def _applied(self, request: Request, who: Issued) -> Answer:
        report = read(request.body)
        try:
            await self._do(lambda: self._reports.take(who.site, who.name, report))
        except OSError as error:
            _log.warning("what %s reports can't be written: %s", who.site, error.strerror)
        return _json({"taken": True})

    async def _happened(self, request: Request, who: Issued) -> Answer:
        batch = events.read(request.body)
        try:
            taken = await self._do(lambda: self._events.take(who.site, batch))
        except OSError as error:
            raise UnavailableError(
                f"events of {who.site} can't be written: {error.strerror}", "the edge keeps them, and tells them again", error_id="events_full"
            ) from error  # fmt: skip
        return _json({"taken": taken})

    def _measured(self, who: Issued) -> Answer:
        session = self._reflector.over(who.site, time.monotonic())
        if session is None:
            raise NotFoundError("nothing is measured", "begin anew", error_id="not_measuring")
        return _json(measuring.told(session))

    async def _renew(self, request: Request, who: Issued) -> Answer:
        granted = await self._do(lambda: self._authority.renew(who.serial, request.body))
        self._looked = 0.0
        _log.info("%s renewed: %s", who.name, granted.issued.name)
        return _json({"certificate": granted.chain.decode(), "tunnel_key": granted.tls_crypt_key.decode()})

    async def _time(self, request: Request) -> Answer:
        nonce = request.query.get("nonce", "")
        if not _NONCE.fullmatch(nonce):
            raise _bad("nonce", "32 to 128 hexadecimal digits that were never used before")
        signer = await self._do(self._authority.signer)
        now = await self._do(self._authority.time)
        return Answer(200, signer.sign(Purpose.TIME, json.dumps({"nonce": nonce, "time": now}).encode()))

    async def _banned(self, request: Request, who: Issued) -> Answer:
        text = await asyncio.to_thread(self._bans, who.site)
        if text is None:
            raise NotFoundError("nothing is shared", "", error_id="nothing_here")
        etag = hashlib.sha256(text).hexdigest()[:32]
        if etag == request.etag:
            return Answer(304, etag=etag)
        signer = await self._do(self._authority.signer)
        return Answer(200, signer.sign(Purpose.BANS, text), etag)

    async def _do(self, action: Callable[[], T]) -> T:
        """With the authority: it locks and reads, and one thread is enough."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, action)


def _json(plain: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(plain).encode())


def _over() -> Answer:
    error = RefusedError("this certificate isn't let in any more", "enrol the site again", error_id="certificate_over")
    return _told(403, error, close=True)


def _told(status: int, error: CentralinoError, *, close: bool = False) -> Answer:
    plain = {"error_id": error.error_id, "message": error.message, "hint": error.hint}
    return Answer(status, json.dumps(plain).encode(), close=close)


def _bad(field: str, hint: str) -> InvalidError:
    return InvalidError([Fault(field, "is wrong", hint, "bad_request")])
