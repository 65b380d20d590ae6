"""A desk phone that does what its server tells it: it rings until NOTIFY says ``talk``, and holds at ``hold``.

    with Obedient(host, pbx.address, "204-1", password) as phone:
        phone.register()                    # as the model that its User-Agent names
        …                                   # a call rings; the server tells it to answer; what it hears it sends back
        assert phone.told() == ["talk"]

Desk phones take these events out of any subscription, within the dialog of the call that is meant (their vendors' guides; the
events come from BroadSoft's remote control): ``talk`` answers a call that rings and resumes one that is held, ``hold`` holds.
"""

from __future__ import annotations

import threading
from typing import TypeVar

from sipmessage import Request, Response

from tests.hil.agents.network import Host
from tests.hil.agents.peer import Provider
from tests.hil.agents.sip import Dialog, answer, wire

Sip = TypeVar("Sip", Request, Response)
YEALINK = "Yealink SIP-T46U 108.86.0.45"
ABLE, STUBBORN, DEAF = "able", "stubborn", "deaf"
"""Does as it is told; answers 200 and does nothing; doesn't answer at all."""


class Obedient(Provider):
    """The phone of one device, with one call at a time."""

    def __init__(self, host: Host, pbx: str, device: str, password: str, *, user_agent: str = YEALINK) -> None:
        super().__init__(host, {}, port=0)
        self.remote = pbx
        self.device, self.password, self.user_agent = device, password, user_agent
        self.temper = ABLE
        self._ringing: Request | None = None
        self._voice = b""
        self._version = 1
        self._handlers |= {"INVITE": self._invited, "NOTIFY": self._notified, "CANCEL": self._cancelled}

    def register(self, expires_s: int = 300) -> None:
        """Register; with 0, not any more."""
        request = self.request("REGISTER", self.device, Expires=str(expires_s), User_Agent=self.user_agent)
        response = self.ask(request, self.device, self.password)
        assert response.code == 200, response

    def told(self) -> list[str]:
        """Events of all NOTIFYs within calls so far, each once however often it was sent."""
        found = {
            (m.call_id, m.cseq.sequence): m.headers["Event"]
            for m in list(self.received)
            if isinstance(m, Request) and m.method == "NOTIFY"
        }
        return list(found.values())

    def reject(self) -> None:
        """Refuse the call that rings."""
        assert self._ringing is not None
        self.send(answer(self._ringing, 486, "Busy Here", self.contact, tag="peer"))
        self._ringing = None

    def _invited(self, request: Request) -> Response | None:
        if ";tag=" in request.headers["To"]:
            return self._with_voice(answer(request, 200, "OK", self.contact))
        if self._ringing is None:
            self._ringing = request
        return answer(request, 180, "Ringing", self.contact, tag="peer")

    def _cancelled(self, request: Request) -> Response:
        if self._ringing is not None:
            self.send(answer(self._ringing, 487, "Request Terminated", self.contact, tag="peer"))
            self._ringing = None
        return answer(request, 200, "OK", tag="peer")

    def _notified(self, request: Request) -> Response | None:
        if self.temper == DEAF:
            return None
        if self.temper == ABLE:
            # Not before the answer to this NOTIFY; and not here, where answers to what is asked are awaited.
            threading.Timer(0.05, self._obey, (request.headers["Event"],)).start()
        return answer(request, 200, "OK", self.contact, tag="peer")

    def _obey(self, event: str) -> None:
        if event == "talk" and self._ringing is not None:
            invite, self._ringing = self._ringing, None
            self._voice = self._sdp()
            response = self._with_voice(answer(invite, 200, "OK", self.contact, tag="peer"))
            self.dialogs.append(Dialog.from_request(invite, response, self.contact, transport="UDP", via=self._via))
            self.send_raw(wire(response))
        elif self.dialogs:
            self._offer_again("sendonly" if event == "hold" else "sendrecv")

    def _offer_again(self, direction: str) -> None:
        """A re-INVITE (RFC 3264, 8.4)."""
        dialog = self.dialogs[-1]
        request = self._with_voice(dialog.request("INVITE"), direction)
        response = self.ask(request)
        if response.code == 200:
            self.send(dialog.request("ACK", cseq=response.cseq.sequence))

    def _with_voice(self, message: Sip, direction: str = "sendrecv") -> Sip:
        self._version += 1
        message.headers.set("Content-Type", "application/sdp")
        message.body = self._voice.replace(b"o=- 1 1", b"o=- 1 %d" % self._version) + f"a={direction}\r\n".encode()
        return message
