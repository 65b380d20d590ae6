"""An office under test: one product, some phones, and short ways to say what happens.

    with open_office(tmp_path) as office:
        one, two = office.phone("201-1"), office.phone("202-1")
        talk(one, two, one.call("202"))

Extensions 201–206 at the head office (202 has two devices), 301 at the branch behind a link for one call and G.711 only.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from appliance.engine.ami import AmiClient
from tests.hil.agents.network import Host, Network
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import Call, SoftPhone, converse
from tests.hil.agents.tap import Tap
from tests.hil.system import System

MAIN = "+390200000200"
CODES = {
    "*43": "echo", "*65": "which_number", "*60": "date_time", "*55": "hold_music", "*78": "dnd_on", "*79": "dnd_off",
    "*72": "forward_set", "*73": "forward_off", "*51": "lock", "*52": "unlock",
}  # fmt: skip
EXPECTED = (
    "Unsupported fingerprint hash type",  # aiortc offers more than the engine knows
    "SSL_ERROR_SSL (Handshake)",  # a test that tries an old TLS
    "Couldn't negotiate stream",  # a phone that must encrypt and doesn't
    "but target does not exist",  # a transfer to where the class may not send calls
)
"""What the engine complains of although it is in order."""
Row = tuple[str, dict[str, Any]]


def rows(address: str, more: Iterable[Row] = ()) -> list[Row]:
    """The office's document; ``more`` adds objects, or replaces those of the same kind and id."""
    made: list[Row] = [
        ("company", {"id": "demo", "name": "Demo Srl", "caller_number": MAIN}),
        ("site", {"id": "hq", "name": "Head office", "company": "demo", "class_of_service": "standard", "emergency_number": MAIN}),
        ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard", "emergency_number": MAIN,
                  "links": [{"to": "hq", "codec_policy": "thin", "max_calls": 1}]}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "349"}, {"first": "400", "last": "449"}]}),
        ("emergency_plan", {"id": "italy", "name": "Italy"}),
        ("class_of_service", {"id": "standard", "name": "Standard"}),
        ("codec_policy", {"id": "standard", "name": "Standard", "codecs": ["opus", "g722", "alaw", "ulaw"]}),
        ("codec_policy", {"id": "thin", "name": "Thin", "codecs": ["ulaw"]}),
        ("listener", {"id": "udp", "name": "Phones", "transport": "udp", "address": address}),
        ("did", {"id": "main", "number": MAIN, "company": "demo", "destination": {"type": "extension", "extension": "ext-201"}}),
        *(("service_code", {"id": service.replace("_", "-"), "code": code, "service": service}) for code, service in CODES.items()),
    ]  # fmt: skip
    for number, site, devices in [
        *((str(number), "hq", 2 if number == 202 else 1) for number in range(201, 207)),
        ("301", "branch", 1),
    ]:
        made.append(("extension", {"id": f"ext-{number}", "number": number, "label": f"Desk {number}", "site": site}))
        for slot in range(1, devices + 1):
            id = f"{number}-{slot}"
            made.append(("device", {"id": id, "extension": f"ext-{number}", "slot": slot, "secret": id}))
            made.append(("secret", {"id": id}))
    found = {(kind, data["id"]): (kind, data) for kind, data in made}
    found.update({(kind, data["id"]): (kind, data) for kind, data in more})
    return list(found.values())


class Office:
    """The running product and the phones that were asked for; those stay until the end."""

    def __init__(self, net: Network, system: System, work: Path) -> None:
        self.net, self.system, self.work = net, system, work
        self.desk: Host = net.host("desk")
        self.stack = contextlib.ExitStack()
        self.ami: AmiClient = self.stack.enter_context(system.ami())
        self._phones: dict[str, SoftPhone] = {}

    @property
    def address(self) -> str:
        return self.system.host.address

    def phone(self, device: str, **options: Any) -> SoftPhone:
        """The registered phone of a device, each with a tone of its own."""
        if device not in self._phones:
            options.setdefault("tone_hz", 400 + 110 * len(self._phones))
            registrar = options.pop("registrar", self.address)
            made = SoftPhone(self.desk, self.work / device, device, self.password(device), registrar, **options)
            self._phones[device] = self.stack.enter_context(made).register()
        return self._phones[device]

    def peer(self, **options: Any) -> SipPeer:
        """A SIP peer to script; enter it yourself."""
        return SipPeer(self.desk, self.address, **options)

    def password(self, device: str) -> str:
        return self.system.passwords[device]

    def events(self, classes: str) -> AmiClient:
        """A connection that receives the engine's events of some classes."""
        launcher = self.system.launcher
        return AmiClient.connect(
            launcher.read_ami_secret(),
            port=launcher.ami_port,
            events=classes,
            network_namespace=launcher.network_namespace,
        )

    def quiet(self) -> None:
        """Wait until no call is left."""
        eventually(lambda: not self.ami.channels(), "no channel is left over", 20)

    def forget(self) -> None:
        """Everything that phones have set is gone."""
        for family in ("dnd", "forward", "lock", "round-robin"):
            self.ami.command(f"database deltree {family}")


@contextlib.contextmanager
def open_office(work: Path, more: Iterable[Row] = (), *, lans: Iterable[str] = ()) -> Iterator[Office]:
    """Start the product with the office's document. The engine must not have complained when it closes.

    ``lans``: more networks that the product has a leg in, with the number 10 in each.
    """
    with Network() as net:
        pbx = net.host("pbx", number=10)
        for lan in lans:
            pbx.join(lan, 10)
        with System(pbx, work, rows(pbx.address, more)) as system:
            office = Office(net, system, work)
            with office.stack:
                yield office
            complaints = [line for line in system.log() if not any(text in line for text in EXPECTED)]
            assert not complaints, complaints


def talk(one: SoftPhone, other: SoftPhone, call: Call) -> None:
    """The other answers, both hear each other, the first hangs up."""
    call.ringing()
    other.incoming().answer()
    call.established()
    heard = converse(one, other)
    assert all(report.good() for report in heard), heard
    call.hangup()


@contextlib.contextmanager
def undisturbed(
    one: SoftPhone, other: SoftPhone, pbx: Host, work: Path, legs: tuple[str, str] = ("eth0", "eth0")
) -> Iterator[None]:
    """Two registered phones that telephone meanwhile, and lose nothing by it: what each sends comes in at the product, and goes out to
    the other. ``legs``: the product's interfaces towards them."""
    with contextlib.ExitStack() as stack:
        taps = {leg: stack.enter_context(_voice(pbx, work, leg)) for leg in dict.fromkeys(legs)}
        call = one.call(other.user.partition("-")[0]).ringing()
        other.incoming().answer()
        call.established()
        began = time.monotonic()
        yield
        assert call.up
        lasted = time.monotonic() - began
        call.hangup()
        for tap in taps.values():
            tap.stop()
            assert tap.dropped() == 0
        ends = (one, taps[legs[0]]), (other, taps[legs[1]])
        for (speaks, at), (listens, there) in (ends, ends[::-1]):
            [sent] = [each for each in at.streams(source=speaks.address) if each.count > 20]
            [heard] = [each for each in there.streams(to=listens.address) if each.count > 20]
            assert (sent.lost, heard.lost) == (0, 0)
            assert sent.count > 45 * lasted
            assert abs(sent.count - heard.count) < 10  # under way, and before the other had answered


def _voice(pbx: Host, work: Path, leg: str) -> Tap:
    return Tap(pbx, work / f"{leg}-{secrets.token_hex(4)}.pcap", leg=leg, bpf="udp portrange 10000-65535")
