"""A SIP peer that the test scripts message by message, and what is built on it: a registrar-and-trunk provider.

with SipPeer(host, pbx.address) as peer:
    response = peer.ask(peer.request("REGISTER", "101"))                     # 401: look at its challenge
    response = peer.ask(peer.request("REGISTER", "101"), "101", password)    # 200
    watch = peer.subscribe("101", password, "102", "dialog")
    watch.next().body                                                        # dialog-info XML
    peer.send_raw(torture_message("wsinv"))

with Provider(host, {"trunk": "password"}) as provider:
    provider.registered("trunk")
    provider.answers("486 Busy Here")                                        # or "200 OK" (echoes audio), "180 Ringing", None
    invite = provider.invited()
    provider.call("390200000001", caller="393000000001", to=pbx.address_on("provider"))
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from sipmessage import Message, Request, Response

from tests.hil.agents.network import Host
from tests.hil.agents.process import DEADLINE_S, AgentError
from tests.hil.agents.sip import Dialog, answer, authorize, credentials_match, new_request, wire
from tests.hil.agents.torture import torture_message, torture_names

__all__ = ["Provider", "SipPeer", "Subscription", "split_stream", "torture_message", "torture_names"]
Sip = Request | Response


def split_stream(buffer: bytes) -> tuple[bytes | None, bytes]:
    """The first whole message of a TCP stream and the rest (RFC 3261 §18.3)."""
    buffer = buffer.lstrip(b"\r\n")
    head, separator, body = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None, buffer
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            length = int(value)
    if len(body) < length:
        return None, buffer
    return head + separator + body[:length], body[length:]


class SipPeer:
    """One socket to one remote. Everything that comes is kept in `received`; requests it has no handler for get 200."""

    def __init__(
        self,
        host: Host,
        remote: str,
        *,
        remote_port: int | None = None,
        transport: Literal["udp", "tcp", "tls"] = "udp",
        local_port: int = 0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.host, self.remote, self.transport = host, remote, transport
        self.remote_port = remote_port or (5061 if transport == "tls" else 5060)
        self.received: list[Sip] = []
        self.raw: list[bytes] = []  # the same and what can't be parsed, as bytes
        self._handlers: dict[str, Callable[[Request], Response | None]] = {}
        self._news = threading.Condition()
        self._sending = threading.Lock()  # the reader answers requests too, and TLS takes one writer at a time
        self._local_port, self._trust = local_port, trust
        self._stopping = False
        self._source: tuple[str, int] | None = None  # where the message at hand came from

    def __enter__(self) -> Self:
        if self.transport == "udp":
            self._socket = self.host.socket(socket.AF_INET6 if ":" in self.remote else socket.AF_INET)
            self._socket.bind((self._own_address(), self._local_port))
        else:
            self._socket = self.host.connect(self.remote, self.remote_port)
            if self._trust:
                self._socket = self._trust.wrap_socket(self._socket, server_hostname=self.remote)
        self._socket.setblocking(False)
        self.address, self.port = self._socket.getsockname()[:2]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _own_address(self) -> str:
        legs = [leg for pair in self.host.legs.values() for leg in pair]
        return next((leg for leg in legs if leg[: leg.rfind(".")] == self.remote[: self.remote.rfind(".")]),
                    self.host.address6 if ":" in self.remote else self.host.address)  # fmt: skip

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopping = True
        self._reader.join(3)
        self._socket.close()

    # --- in and out ---

    def _read(self) -> None:
        buffer = b""
        while not self._stopping:
            if not select.select([self._socket], [], [], 0.1)[0]:
                continue
            try:
                data, source = (
                    self._socket.recvfrom(65535) if self.transport == "udp" else (self._socket.recv(65535), None)
                )
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            except OSError:
                return
            if self.transport == "udp":
                self._take(data, source)
                continue
            if not data:
                return
            buffer += data
            while True:
                message, buffer = split_stream(buffer)
                if message is None:
                    break
                self._take(message, None)

    def _take(self, data: bytes, source: tuple[str, int] | None) -> None:
        try:
            message = Message.parse(data)
        except (ValueError, KeyError):
            message = None
        self._source = source
        reply = self._react(message) if isinstance(message, Request) else None
        with self._news:
            self.raw.append(data)
            if message is not None:
                self.received.append(message)
            self._news.notify_all()
        if reply is not None:
            self.send_raw(wire(reply), source)

    def _react(self, request: Request) -> Response | None:
        if request.method == "ACK":
            return None
        handler = self._handlers.get(request.method)
        return handler(request) if handler else answer(request, 200, "OK", self.contact, tag="peer")

    def send_raw(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        """Send bytes as they are."""
        if self.transport == "udp":
            self._socket.sendto(data, to or (self.remote, self.remote_port))
        else:
            with self._sending:
                self._socket.setblocking(True)
                self._socket.sendall(data)
                self._socket.setblocking(False)

    def send(self, message: Sip) -> None:
        self.send_raw(wire(message))

    def receive(self, match: Callable[[Sip], bool], what: str, deadline_s: float = DEADLINE_S, since: int = 0) -> Sip:
        """The first message from number `since` on that matches, here or still to come."""

        def find() -> Sip | None:
            return next((m for m in self.received[since:] if match(m)), None)

        with self._news:
            found = self._news.wait_for(find, deadline_s)
            if found is None:
                tail = [raw.split(b"\r\n")[0] for raw in self.raw[-6:]]
                raise AgentError(f"not within {deadline_s:g} s: {what}; last received: {tail}")
            return found

    # --- requests ---

    @property
    def contact(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"<sip:peer@{address}:{self.port};transport={self.transport}>"

    @property
    def _via(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def request(self, method: str, user: str, target: str | None = None, **headers: str) -> Request:
        """A request from `user` to `target` (a number; none for REGISTER). Header names with `_` for `-`."""
        domain = f"[{self.remote}]" if ":" in self.remote else self.remote
        uri = f"sip:{target}@{domain}" if target else f"sip:{domain}"
        to = f"<{uri}>" if target else f"<sip:{user}@{domain}>"
        made = new_request(
            method, uri, f"<sip:{user}@{domain}>", to, self.contact, transport=self.transport.upper(), via=self._via
        )
        for name, value in headers.items():
            made.headers.set(name.replace("_", "-"), value)
        return made

    def ask(
        self, request: Request, user: str = "", password: str | None = None, deadline_s: float = DEADLINE_S
    ) -> Response:
        """Send a request and return its final response; with a password, a challenge is answered. INVITEs are acknowledged."""
        while True:
            since = len(self.received)
            self.send(request)
            sequence, call_id = request.cseq, request.call_id

            def final(m: Sip, sequence: object = sequence, call_id: str = call_id) -> bool:
                return isinstance(m, Response) and m.code >= 200 and m.cseq == sequence and m.call_id == call_id

            response = self.receive(final, f"answer to {request.method} {request.uri}", deadline_s, since)
            assert isinstance(response, Response)
            if request.method == "INVITE" and response.code >= 300:
                self.send(Dialog.ack(request, response))
            if password is None or response.code not in (401, 407):
                return response
            request, password = authorize(request, response, user, password), None

    def subscribe(self, user: str, password: str, target: str, event: str, expires_s: int = 60) -> Subscription:
        """SUBSCRIBE to `dialog` (dialog-info) or `presence` (PIDF) of a number."""
        accept = {"dialog": "application/dialog-info+xml", "presence": "application/pidf+xml"}[event]
        request = self.request("SUBSCRIBE", user, target, Event=event, Accept=accept, Expires=str(expires_s))
        response = self.ask(request, user, password)
        if response.code != 200:
            raise AgentError(f"subscription to {target} refused: {response.code} {response.phrase}")
        return Subscription(self, response.call_id)


class Subscription:
    """The NOTIFYs of one subscription, in order."""

    def __init__(self, peer: SipPeer, call_id: str) -> None:
        self._peer, self._call_id, self._taken = peer, call_id, 0

    def all(self) -> list[Request]:
        return [
            m
            for m in self._peer.received
            if isinstance(m, Request) and m.method == "NOTIFY" and m.call_id == self._call_id
        ]

    def next(self, deadline_s: float = DEADLINE_S) -> Request:
        """The next NOTIFY not taken yet."""

        def news(_: Sip) -> bool:
            return len(self.all()) > self._taken

        self._peer.receive(news, "NOTIFY", deadline_s)
        self._taken += 1
        return self.all()[self._taken - 1]

    def until(self, text: str, deadline_s: float = DEADLINE_S) -> Request:
        """Take NOTIFYs until one's body holds `text`."""
        while text not in (notify := self.next(deadline_s)).body.decode():
            pass
        return notify


class Provider(SipPeer):
    """A telephone provider on UDP 5060: registers trunks with a digest check, takes calls and places them."""

    def __init__(self, host: Host, accounts: dict[str, str], *, port: int = 5060) -> None:
        """`accounts`: the password of each user that may register."""
        super().__init__(host, host.address, local_port=port)
        self.accounts = accounts
        self.contacts: dict[str, str] = {}
        self._status: str | None = "200 OK"
        self._nonce = secrets.token_hex(8)
        self._handlers = {"REGISTER": self._register, "INVITE": self._invite}
        self._echo: list[threading.Thread] = []
        self.dialogs: list[Dialog] = []
        self._calls: set[str] = set()  # Call-IDs of the INVITEs handed to the test

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        super().__exit__()
        for echo in self._echo:
            echo.join(3)

    def answers(self, status: str | None) -> None:
        """What INVITEs get from now on: a final status, `200 OK` with echoed audio, `180 Ringing` for ever, None for silence."""
        self._status = status

    def _register(self, request: Request) -> Response:
        user = request.to_address.uri.user or ""
        if user in self.accounts and credentials_match(request, self.accounts[user]):
            self.contacts[user] = str(request.contact[0].uri)
            response = answer(request, 200, "OK", request.headers["Contact"], tag="provider")
            response.headers.set("Expires", request.headers.get("Expires") or "60")
            return response
        response = answer(request, 401, "Unauthorized", tag="provider")
        challenge = f'Digest realm="provider.example.com", nonce="{self._nonce}", algorithm=MD5, qop="auth"'
        response.headers.set("WWW-Authenticate", challenge)
        return response

    def _invite(self, request: Request) -> Response | None:
        if self._source:
            self.remote, self.remote_port = self._source[:2]  # its own requests of this call go back there
        if self._status is None:
            return None
        code, _, phrase = self._status.partition(" ")
        response = answer(request, int(code), phrase, self.contact, tag="provider")
        if code == "200" and ";tag=" not in request.headers["To"]:
            response.headers.set("Content-Type", "application/sdp")
            response.body = self._sdp()
            self.dialogs.append(Dialog.from_request(request, response, self.contact, transport="UDP", via=self._via))
        return response

    def _sdp(self) -> bytes:
        v6 = ":" in self.address
        echo = self.host.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        echo.bind((self.address, 0))
        port = echo.getsockname()[1]
        self._echo.append(threading.Thread(target=self._send_back, args=(echo,), daemon=True))
        self._echo[-1].start()
        at = f"IN IP{6 if v6 else 4} {self.address}"
        lines = ["v=0", f"o=- 1 1 {at}", "s=-", f"c={at}", "t=0 0"]
        lines += [f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", ""]
        return "\r\n".join(lines).encode()

    def _send_back(self, echo: socket.socket) -> None:
        """Send every packet back to where it came from, until the provider closes."""
        with echo:
            while not self._stopping:
                if select.select([echo], [], [], 0.1)[0]:
                    with contextlib.suppress(OSError):  # the other side may have gone
                        data, source = echo.recvfrom(2048)
                        echo.sendto(self._sent_back(data), source)

    def _sent_back(self, data: bytes) -> bytes:
        """What is sent back for a packet: the same."""
        return data

    def registered(self, user: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until `user` is registered: its contact."""
        self.receive(lambda _: user in self.contacts, f"registration of {user}", deadline_s)
        return self.contacts[user]

    def invited(self, deadline_s: float = DEADLINE_S) -> Request:
        """The next INVITE not taken yet (retransmissions and re-INVITEs left out)."""

        def fresh(m: Sip) -> bool:
            return isinstance(m, Request) and m.method == "INVITE" and m.call_id not in self._calls

        invite = self.receive(fresh, "INVITE at the provider", deadline_s)
        assert isinstance(invite, Request)
        self._calls.add(invite.call_id)
        return invite

    def call(self, did: str, caller: str, to: str, deadline_s: float = DEADLINE_S, **headers: str) -> Dialog:
        """Place a call to a DID at the engine's address `to` and wait for its answer; AgentError with the refusal."""
        self.remote, self.remote_port = to, 5060
        request = self.request("INVITE", caller, did, Content_Type="application/sdp", **headers)
        request.body = self._sdp()
        response = self.ask(request, deadline_s=deadline_s)
        if response.code != 200:
            raise AgentError(f"call to {did} refused: {response.code} {response.phrase}")
        dialog = Dialog.from_response(response, self.contact, transport="UDP", via=self._via)
        self.send(dialog.request("ACK", cseq=response.cseq.sequence))
        self.dialogs.append(dialog)
        return dialog

    def hangup(self, dialog: Dialog | None = None) -> None:
        """Hang up a call, the newest by default."""
        response = self.ask((dialog or self.dialogs[-1]).request("BYE"))
        if response.code != 200:
            raise AgentError(f"BYE refused: {response.code} {response.phrase}\n{self.raw[-1].decode()}")
