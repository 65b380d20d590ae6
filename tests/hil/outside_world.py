"""An engine with the product's configuration, a phone, and providers that do as they are told, with times.

    with Network() as net, Exchange(net, tmp_path, rows) as exchange, exchange.line("a") as a, exchange.phone() as phone:
        a.does((0, "503 Service Unavailable"))
        assert phone.dial("00200000999").code == 503

The engine runs what ``desired()`` plans: neither store nor applier take part. Times are those of this machine's
monotonic clock, in seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipmessage import Request, Response

from appliance.core.document import Document, parse
from appliance.engine.ami import AmiClient
from appliance.engine.known import STARTING
from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.plan import EngineParams, static_files
from appliance.engine.root import find_root
from appliance.kinds import KINDS
from appliance.organisation.model import Secret
from appliance.paths import EnginePaths, Paths
from appliance.pbx.context import Installation
from appliance.pbx.plan import desired
from appliance.verify import verify
from tests.hil.agents.network import Host, Network
from tests.hil.agents.peer import Provider, SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.sip import Dialog, answer, wire

PASSWORD = "outside-world"
MAIN, BRANCH_MAIN = "+390200000100", "+390200000300"
Rows = list[tuple[str, dict[str, Any]]]


def rows(
    *,
    trunks: Mapping[str, Mapping[str, Any]] | None = None,
    provider: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    more: Iterable[tuple[str, dict[str, Any]]] = (),
) -> Rows:
    """A company of two sites with a phone each (201 at the head office, 301 at the branch) and trunks ``a`` and ``b``.

    ``trunks``: further fields of trunks by id (a new id adds a trunk); ``provider``, ``identity``: fields of the provider.
    """
    auth = {"type": "address"}
    fields: dict[str, dict[str, Any]] = {
        "a": {"host": "198.51.100.21", "auth": auth, "caller_number": MAIN},
        "b": {"host": "198.51.100.22", "auth": auth, "caller_number": MAIN},
    }
    for id, given in (trunks or {}).items():
        fields[id] = {**fields.get(id, {"host": "198.51.100.23", "auth": auth}), **given}
    made: Rows = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "399"}]}),
        ("emergency_plan", {"id": "italy", "name": "Italy"}),
        ("class_of_service", {"id": "standard", "name": "Standard"}),
        ("listener", {"id": "lan", "name": "Phones", "transport": "udp", "address": "192.0.2.10"}),
        ("listener", {"id": "wan", "name": "Trunks", "transport": "udp", "address": "198.51.100.10", "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telco", "identity": dict(identity or {}), **(provider or {"probe": False})}),
        *(("trunk", {"id": id, "name": id, "provider": "telco", **given}) for id, given in fields.items()),
        ("did", {"id": "main", "number": MAIN, "company": "demo", "destination": {"type": "extension", "extension": "ext-201"}}),
        ("did", {"id": "branch", "number": BRANCH_MAIN, "company": "demo", "destination": {"type": "extension", "extension": "ext-301"}}),
        *more,
    ]  # fmt: skip
    for site, number, main, ways in (("hq", "201", MAIN, ["a", "b"]), ("branch", "301", BRANCH_MAIN, ["b"])):
        common = {"class_of_service": "standard", "caller_number": main, "emergency_number": main}
        made += [
            ("site", {"id": site, "name": site, "company": "demo", "trunks": ways, **common}),
            ("extension", {"id": f"ext-{number}", "number": number, "label": f"Desk {number}", "site": site}),
            ("device", {"id": f"{number}-1", "extension": f"ext-{number}", "secret": f"{number}-1"}),
            ("secret", {"id": f"{number}-1"}),
        ]
    return made


class Peer(Provider):
    """What lines and phones have in common."""

    _over: frozenset[str] = frozenset()

    def requests(self) -> list[Request]:
        """All requests so far, but those of calls from before :meth:`begin_anew`."""
        found = [message for message in list(self.received) if isinstance(message, Request)]
        return [request for request in found if request.call_id not in self._over]

    def methods(self) -> list[str]:
        """Methods of all requests so far."""
        return [request.method for request in self.requests()]

    def begin_anew(self) -> None:
        """Forget all calls so far: what comes late of theirs (a BYE, something sent again) isn't the next test's."""
        known = {request.call_id for request in self.requests()} | {dialog.call_id for dialog in self.dialogs}
        self._over |= known
        self.received.clear()
        self.dialogs.clear()


class Line(Peer):
    """A provider that answers each INVITE by a script: (seconds after it, status)…; empty: silence."""

    script: tuple[tuple[float, str], ...] = ((0, "180 Ringing"), (0.1, "200 OK"))

    def __init__(self, host: Host, pbx: str, accounts: dict[str, str] | None = None, *, port: int = 5060) -> None:
        super().__init__(host, accounts or {}, port=port)
        self.remote = self.pbx = pbx

    def does(self, *script: tuple[float, str]) -> None:
        """What happens to INVITEs from now on."""
        self.script = script

    def __enter__(self) -> Self:
        self.times: dict[str, float] = {}
        self._pending: dict[str, Request] = {}
        self._timers: list[threading.Timer] = []
        self._handlers["CANCEL"] = self._cancel
        self._handlers["OPTIONS"] = self._options
        self.there = True
        return super().__enter__()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for timer in self._timers:
            timer.cancel()
        super().__exit__()

    def _options(self, request: Request) -> Response | None:
        return answer(request, 200, "OK", self.contact, tag="provider") if self.there else None

    def _invite(self, request: Request) -> Response | None:
        again = request.call_id in self.times
        if again and ";tag=" not in request.headers["To"]:
            return None  # a retransmission
        self.times.setdefault(request.call_id, time.monotonic())
        if again:
            return super()._invite(request)
        self._pending[request.call_id] = request
        for delay, status in self.script:
            timer = threading.Timer(delay, self._say, (request, status))
            self._timers.append(timer)
            timer.start()
        return None

    def _say(self, request: Request, status: str) -> None:
        final = status[0] > "1"
        known = self._pending.pop(request.call_id, None) if final else self._pending.get(request.call_id)
        if known is None or self._stopping:
            return  # cancelled meanwhile
        response = self._said(request, status)
        if response is not None:
            self.send_raw(wire(response), (self.pbx, 5060))

    def _said(self, request: Request, status: str) -> Response | None:
        """The response of a status; 183 brings early media along."""
        if status[:3] == "183":
            response = answer(request, 183, "Session Progress", self.contact, tag="provider")
            response.headers.set("Content-Type", "application/sdp")
            response.body = self._sdp()
            return response
        self._status = status
        return super()._invite(request)

    def _cancel(self, request: Request) -> Response:
        invite = self._pending.pop(request.call_id, None)
        if invite is not None:
            self.send_raw(
                wire(answer(invite, 487, "Request Terminated", self.contact, tag="provider")), (self.remote, 5060)
            )
        return answer(request, 200, "OK", tag="provider")

    @property
    def invites(self) -> list[Request]:
        """The INVITE of each call it got, in order."""
        found: dict[str, Request] = {}
        for request in self.requests():
            if request.method == "INVITE":
                found.setdefault(request.call_id, request)
        return list(found.values())

    @property
    def first(self) -> Request:
        """The first INVITE, waited for."""
        return eventually(lambda: self.invites[:1], f"INVITE at {self.address}")[0]

    @property
    def at(self) -> float:
        """When the newest INVITE came."""
        eventually(lambda: self.times, f"INVITE at {self.address}")
        return list(self.times.values())[-1]

    def contact_of(self, user: str) -> str:
        """Where a trunk is registered, waited for."""
        return eventually(lambda: self.contacts.get(user), f"registration of {user}")


class Phone(Peer):
    """A phone that dials, and takes calls when it is registered."""

    def __init__(self, host: Host, pbx: str, user: str) -> None:
        super().__init__(host, {})
        self.remote = pbx
        self.user = user
        self.takes_fax = False

    def _invite(self, request: Request) -> Response | None:
        response = super()._invite(request)
        if self.takes_fax and response is not None and b"udptl" in request.body:
            response.headers.set("Content-Type", "application/sdp")
            response.body = request.body.replace(b"198.51.100.10", self.address.encode())
        return response

    def dial(self, number: str, deadline_s: float = 20, *, uri_parameters: str = "", **headers: str) -> Response:
        """Call a number: the final answer. An answered call stays up (``hangup()``)."""
        request = self.request("INVITE", self.user, number, Content_Type="application/sdp", **headers)
        if uri_parameters:
            request.uri = type(request.uri).parse(f"{request.uri}{uri_parameters}")
        request.body = self._sdp()
        response = self.ask(request, self.user, PASSWORD, deadline_s=deadline_s)
        if response.code == 200:
            dialog = Dialog.from_response(response, self.contact, transport="UDP", via=self._via)
            self.send(dialog.request("ACK", cseq=response.cseq.sequence))
            self.dialogs.append(dialog)
        return response

    def invites_so_far(self) -> list[Request]:
        """INVITEs that came."""
        return [m for m in list(self.received) if isinstance(m, Request) and m.method == "INVITE"]

    def register(self) -> None:
        """Register; calls are answered from then on."""
        response = self.ask(self.request("REGISTER", self.user, Expires="300"), self.user, PASSWORD)
        assert response.code == 200, response


class Exchange:
    """The engine in its namespace, with legs at the phones and at the providers."""

    def __init__(self, net: Network, work: Path, rows: Rows, *, pjsip: Mapping[str, str] | None = None) -> None:
        """``pjsip``: lines of pjsip.conf that are written otherwise: shorter times than the product's, say."""
        self.net = net
        self.host = net.host("pbx", number=10)
        self.host.join("provider", 10)
        document = Document.of(parse(KINDS, kind, data) for kind, data in rows)
        assert not verify(document), verify(document)
        secrets = {secret.id: PASSWORD for secret in document.all(Secret).values()}
        files = {name: file.text for name, file in desired(document, Installation("token", secrets)).items()}
        for line, other in (pjsip or {}).items():
            assert f"\n{line}\n" in files["pjsip.conf"], line
            files["pjsip.conf"] = files["pjsip.conf"].replace(f"\n{line}\n", f"\n{other}\n")
        self.launcher = EngineLauncher(
            find_root(Paths.default()), EnginePaths(work), network_namespace=self.host.namespace
        )
        self.launcher.prepare()
        params = EngineParams(ami_secret=self.launcher.read_ami_secret(), ami_port=self.launcher.ami_port)
        self.write(static_files(params) | files)

    def write(self, files: dict[str, str]) -> None:
        """The configuration that the engine starts with."""
        for name in files:
            (self.launcher.paths.config / "gen-000001" / name).parent.mkdir(parents=True, exist_ok=True)
        generation = self.launcher.paths.config / "gen-000001"
        for name, text in files.items():
            (generation / name).write_text(text)
        self.launcher.grant(generation)
        self.launcher.paths.current.symlink_to(generation.name)

    def __enter__(self) -> Self:
        self.engine: Engine = self.launcher.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.engine.kill()

    def ami(self) -> AmiClient:
        return self.engine.ami()

    def line(self, name: str = "a", number: int | None = None, accounts: dict[str, str] | None = None) -> Line:
        """The provider's end of a trunk: ``a`` at 198.51.100.21, ``b`` at .22, others at .23 or as said."""
        host = self.net.host(f"line-{name}", "provider", number or {"a": 21, "b": 22}.get(name, 23))
        return Line(host, "198.51.100.10", accounts)

    def phone(self, user: str = "201-1") -> Phone:
        """The phone of a device."""
        return Phone(self.net.host(f"phone-{len(self.net.hosts)}"), "192.0.2.10", user)

    def channels(self) -> list[str]:
        """Names of the channels that are up; those that watch trunks end by themselves."""
        with self.ami() as ami:
            return [item["Channel"] for item in ami.channels() if "@trunk-watch" not in item["Channel"]]

    def log(self) -> list[str]:
        """Errors and warnings of the engine, but for the one that it says when something comes in while it starts (:mod:`appliance.engine.known`)."""
        text = self.launcher.paths.messages.read_text(errors="replace")
        bad = (line for line in text.splitlines() if " ERROR[" in line or " WARNING[" in line)
        return [line for line in bad if STARTING not in line]


__all__ = ["BRANCH_MAIN", "MAIN", "Exchange", "Line", "Phone", "SipPeer", "rows"]
