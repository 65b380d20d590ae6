"""A whole company under test: the product with phones on one side and its provider on the other.

    with open_company(tmp_path) as company:
        one, two = company.phone("201-1"), company.phone("202-1")
        talk(one, two, one.call("202"))
        company.line.does((0, "200 OK"))
        one.call("00200000999").established()

Extensions 201, 202 … with a device each; ring group 400 of the first three; trunk ``line`` knows the provider by its
address, trunk ``account`` registers there. The main number rings 201, the second number plays the echo.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.pbx.numbers.model import Service
from tests.hil.agents.names import NameServer, resolv_conf
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import eventually
from tests.hil.agents.sipp import Sipp, User
from tests.hil.agents.softphone import Call, SoftPhone, converse
from tests.hil.outside_world import Line
from tests.hil.system import Rows, System, office

MAIN, ECHO = "+390200000200", "+390200000243"
ACCOUNT, ACCOUNT_PASSWORD = "account", "password of the line"
CODES = {
    "*43": Service.ECHO, "*60": Service.DATE_TIME, "*65": Service.WHICH_NUMBER, "*78": Service.DND_ON,
    "*79": Service.DND_OFF, "*72": Service.FORWARD_SET, "*73": Service.FORWARD_OFF,
}  # fmt: skip
PBX, PBX_OUTSIDE, LINE = "192.0.2.10", "198.51.100.10", "198.51.100.21"


def rows(
    extensions: int = 6,
    *,
    first: int = 201,
    transports: Sequence[str] = ("udp",),
    more: Iterable[tuple[str, dict[str, Any]]] = (),
) -> Rows:
    """The company's document; ``more`` adds objects, or replaces those of the same kind and id."""
    auth = {"type": "register", "username": ACCOUNT, "secret": ACCOUNT}
    members = [{"extension": f"ext-{first + n}"} for n in range(min(extensions, 3))]
    main, echo = {"type": "extension", "extension": f"ext-{first}"}, {"type": "service", "service": "echo"}
    made: Rows = [
        *((kind, row) for kind, row in office(PBX, extensions, first=first, transports=transports) if kind not in ("site", "service_code")),
        ("site", {"id": "hq", "name": "Head office", "company": "demo", "class_of_service": "standard", "emergency_number": MAIN, "trunks": ["line", "account"]}),
        *(("service_code", {"id": service.replace("_", "-"), "code": code, "service": service}) for code, service in CODES.items()),
        ("listener", {"id": "wan", "name": "Trunks", "transport": "udp", "address": PBX_OUTSIDE, "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telco", "probe": False}),
        ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": LINE, "auth": {"type": "address"}, "caller_number": MAIN}),
        ("trunk", {"id": "account", "name": "Account", "provider": "telco", "host": "198.51.100.22", "auth": auth, "caller_number": MAIN}),
        ("secret", {"id": ACCOUNT}),
        ("did", {"id": "main", "number": MAIN, "company": "demo", "destination": main}),
        ("did", {"id": "echo", "number": ECHO, "company": "demo", "destination": echo}),
        ("ring_group", {"id": "desk", "name": "Desk", "number": "400", "site": "hq", "members": members}),
    ]  # fmt: skip
    found = {(kind, data["id"]): (kind, data) for kind, data in made}
    found.update({(kind, data["id"]): (kind, data) for kind, data in more})
    return list(found.values())


class Company:
    """The running product, the phones that were asked for (they stay until the end), and the provider's two lines.

    ``others``: further ones that a test has made, by address. ``line`` and ``account`` are the provider's ends of the trunks; ``line`` is None when a test plays it itself.
    """

    def __init__(self, net: Network, system: System, work: Path, account: Line, line: Line | None) -> None:
        self.net, self.system, self.work, self.account = net, system, work, account
        self._line = line
        self.names: NameServer | None = None
        self.others: dict[str, Line] = {}
        self.desk: Host = net.host("desk")
        self.stack = contextlib.ExitStack()
        self._phones: dict[str, SoftPhone] = {}

    @property
    def line(self) -> Line:
        assert self._line is not None
        return self._line

    def phone(self, device: str, **options: Any) -> SoftPhone:
        """The registered phone of a device, each with a tone of its own."""
        if device not in self._phones:
            options.setdefault("tone_hz", 400 + 110 * len(self._phones))
            password = self.system.passwords[device]
            made = SoftPhone(self.desk, self.work / device, device, password, PBX, **options)
            self._phones[device] = self.stack.enter_context(made).register()
        return self._phones[device]

    def users(self, devices: Iterable[str], targets: Iterable[str] = ()) -> list[User]:
        """SIPp's users for devices, each with a number to call if there are targets."""
        numbers = iter(targets)
        return [User(device, self.system.passwords[device], next(numbers, "")) for device in devices]

    def sipp(self, host: Host, name: str) -> Sipp:
        """A SIPp that talks to the product."""
        return Sipp(host, self.work / f"sipp-{name}", PBX)

    def contacts(self, field: str = "Uri") -> dict[str, str]:
        """Where each registered device is (or another field of its contact), by device id."""
        with self.system.ami() as ami:
            found = {e.get("ObjectName").partition(";@"): e.get(field) for e in ami.list("PJSIPShowContacts")}
        return {device: value for (device, registered, _), value in found.items() if registered}

    def reachable(self, devices: Iterable[str]) -> None:
        """Have the engine look whether these devices answer (it looks by itself once a minute); wait until all do."""
        wanted = set(devices)
        with self.system.ami() as ami:

            def all_there() -> bool:
                states = self.contacts("Status")
                away = [device for device in wanted if states.get(device) != "Reachable"]
                for device in away:
                    if states.get(device) == "Unreachable":
                        ami.action("PJSIPQualify", {"Endpoint": self.endpoint(device)})
                return not away

            eventually(all_there, "every device answers", 30, 1)

    def endpoint(self, device: str) -> str:
        """Name of a device's first endpoint in the engine."""
        text = (self.system.paths.engine.current / "pjsip.conf").read_text()
        found = re.search(rf"^\[({re.escape(device)}(?:@\S+)?)\]\ntype=endpoint$", text, re.M)
        assert found, f"device {device} has no endpoint"
        return found[1]

    def lines_up(self) -> list[str]:
        """State of each registration at a provider."""
        with self.system.ami() as ami:
            found = ami.list("PJSIPShowRegistrationsOutbound")
        return [e.get("Status") for e in found if e.event == "OutboundRegistrationDetail"]

    def quiet(self, deadline_s: float = 20) -> None:
        """Wait until no call is left."""
        with self.system.ami() as ami:
            eventually(lambda: not ami.channels(), "no channel is left over", deadline_s)

    def put(self, kind: str, **data: Any) -> dict[str, Any]:
        """Commit one object."""
        return self.system.commit(parse(KINDS, kind, data))


@contextlib.contextmanager
def open_company(
    work: Path,
    made: Rows | None = None,
    *,
    own_line: bool = False,
    silent_name_server: bool = False,
    name_server: Sequence[str] | None = None,
    complaints: Sequence[str] = (),
) -> Iterator[Company]:
    """Start the product. When it closes, the engine must not have complained but by lines that hold one of ``complaints``.

    :param own_line: the test plays the provider's end of trunk ``line`` itself.
    :param silent_name_server: the engine is told of a name server that never answers, in place of none.
    :param name_server: the appliance's machine has a name server with these records (the engine is told of none):
        ``company.names``.
    """
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network())
        pbx = net.host("pbx", number=10).join("provider", 10)
        ends = {"line": (21, {}), "account": (22, {ACCOUNT: ACCOUNT_PASSWORD})}
        lines = {
            name: stack.enter_context(Line(net.host(name, "provider", number), PBX_OUTSIDE, accounts))
            for name, (number, accounts) in ends.items()
            if not (own_line and name == "line")
        }
        system = System(pbx, work, made or rows())
        system.passwords[ACCOUNT] = ACCOUNT_PASSWORD
        if silent_name_server:
            server = net.host("names")
            stack.enter_context(net.blackhole(server))
            system.paths.engine.top.mkdir(parents=True)
            (system.paths.engine.top / "resolv.conf").write_text(f"nameserver {server.address}\n")
        names = None
        if name_server is not None:
            names = stack.enter_context(NameServer(net.host("dns", number=53), *name_server))
            stack.enter_context(resolv_conf(pbx, names))
        stack.enter_context(system)
        company = Company(net, system, work, lines["account"], lines.get("line"))
        company.names = names
        with company.stack:
            yield company
        said = [line for line in system.log() if not any(known in line for known in complaints)]
        assert not said, said


def talk(one: SoftPhone, other: SoftPhone, call: Call) -> None:
    """The other answers, both hear each other, the first hangs up."""
    call.ringing()
    incoming = other.incoming().answer()
    call.established()
    heard = converse(one, other, 1.0)
    assert all(report.good() for report in heard), heard
    call.hangup()
    incoming.closed()
