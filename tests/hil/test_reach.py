"""What a technician tests by each line, against real kernels, as a user without any privilege: two lines, their routers, a host far away."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from appliance.engine.unix import listening
from tests.hil.agents.names import NameServer
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.command import Command

NOBODY = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--",
]
NAME = "vpn.example.com"
MTU = 1400


@dataclass
class Ground:
    """Lines eth0 (its route in the main table) and eth1 (in a table of its own), each with a router; the centre behind both."""

    net: Network
    edge: Host
    first: Host
    second: Host
    centre: Host
    command: Command

    def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """``centralino edge …`` at the edge, as nobody: exit code, what it says, what it complains of."""
        done = self.command.run("technician", ("edge", *words), None, env)
        assert "Traceback" not in done.stderr, done
        return done.code, done.stdout, done.stderr

    def json(self, *words: str, code: int = 0, **env: str) -> Any:
        """The same as data."""
        found, said, complaint = self.run(*words, "--json", **env)
        assert found == code, (said, complaint)
        return json.loads(said)

    def judged(self, device: str, host: str = "") -> tuple[str, dict[str, Any]]:
        """Where the fault of a device is, and all of it."""
        found, said, complaint = self.run("check", "--device", device, *(["--host", host] if host else []), "--json")
        [line] = json.loads(said)["lines"]
        assert (found == 0) == (line["where"] == "well"), complaint
        return line["where"], line


def setting(host: Host, name: str, value: str) -> None:
    host.run(["sh", "-c", f"echo '{value}' > /proc/sys/net/{name}"])


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    require_root()
    with Network() as net:
        edge = net.host("edge", lan="isp-one").join("isp-two")
        first = net.host("first", lan="isp-one").join("provider")
        second = net.host("second", lan="isp-two").join("provider")
        centre = net.host("centre", lan="provider")
        for router in (first, second):
            setting(router, "ipv4/ip_forward", "1")
            setting(router, "ipv6/conf/all/forwarding", "1")
        for router, lan, device, table in ((first, "isp-one", "eth0", "main"), (second, "isp-two", "eth1", "102")):
            for version, index, nets in (
                ("-4", 0, ("198.18.1.0/24", "198.18.0.0/24")),
                ("-6", 1, ("2001:db8:5::/64", "2001:db8:4::/64")),
            ):
                edge.run(
                    [
                        "ip",
                        version,
                        "route",
                        "add",
                        "default",
                        "via",
                        router.legs[lan][index],
                        "dev",
                        device,
                        "table",
                        table,
                    ]
                )
                network = nets[0] if lan == "isp-one" else nets[1]
                centre.run(["ip", version, "route", "add", network, "via", router.legs["provider"][index]])
                if table != "main":
                    edge.run(["ip", version, "rule", "add", "oif", device, "lookup", table])
        setting(edge, "ipv4/ping_group_range", "0 2147483647")
        edge.ask_names_of(centre.address)
        with Command(edge, {**os.environ, "CENTRALINO_EDGE": "/nowhere"}, net.work, NOBODY) as command:
            yield Ground(net, edge, first, second, centre, command)


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_an_echo_goes_by_the_line_that_was_asked_for(ground: Ground, six: bool) -> None:
    centre = ground.centre.address6 if six else ground.centre.address
    for device in ("eth0", "eth1"):
        found = ground.json("ping", centre, "--device", device)
        assert (found["sent"], found["received"], found["loss"]) == (5, 5, 0.0)
        assert 0 < found["min_ms"] <= found["mean_ms"] <= found["max_ms"]
        assert found["jitter_ms"] >= 0
    with ground.second.unplugged("isp-two"):
        found = ground.json("ping", centre, "--device", "eth1", "--count", "2", code=1)
        assert (found["sent"], found["received"], found["loss"], found["mean_ms"]) == (2, 0, 1.0, None)
        assert ground.json("ping", centre, "--device", "eth0", "--count", "2")["received"] == 2


def test_what_a_router_says_of_an_echo_is_told(ground: Ground) -> None:
    code, said, _complaint = ground.run("ping", "192.0.2.9", "--count", "1")
    assert code == 1
    assert f"{ground.first.address} says: it knows no way there" in said
    assert "No answer to 1 echoes." in said


def test_who_may_not_ping_is_told_what_to_set(ground: Ground) -> None:
    setting(ground.edge, "ipv4/ping_group_range", "1 0")
    try:
        code, _said, complaint = ground.run("ping", ground.centre.address)
        assert code == 1
        assert "net.ipv4.ping_group_range" in complaint
        assert ground.json("trace", ground.centre.address, "--device", "eth0")["reached"], "it needs none"
    finally:
        setting(ground.edge, "ipv4/ping_group_range", "0 2147483647")


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_the_way_is_told_hop_by_hop_with_the_size_of_packets(ground: Ground, six: bool) -> None:
    centre = ground.centre.address6 if six else ground.centre.address
    index = int(six)
    for router, device, lan in ((ground.first, "eth0", "isp-one"), (ground.second, "eth1", "isp-two")):
        found = ground.json("trace", centre, "--device", device)
        assert [hop["addresses"] for hop in found["hops"]] == [[router.legs[lan][index]], [centre]]
        assert all(hop["rtt_ms"] > 0 for hop in found["hops"])
        assert found["reached"] is True
        assert found["mtu"] is None
    ground.first.run(["ip", "link", "set", "eth1", "mtu", str(MTU)])
    try:
        found = ground.json("trace", centre, "--device", "eth0")
        assert (found["reached"], found["mtu"]) == (True, MTU)
        assert [hop["mtu"] for hop in found["hops"]] == [None, MTU]
    finally:
        ground.first.run(["ip", "link", "set", "eth1", "mtu", "1500"])


def test_a_device_that_takes_less_is_no_trouble(ground: Ground) -> None:
    ground.edge.run(["ip", "link", "set", "eth0", "mtu", str(MTU)])
    try:
        found = ground.json("trace", ground.centre.address, "--device", "eth0")
        assert (found["reached"], found["mtu"], found["said"]) == (True, MTU, "")
    finally:
        ground.edge.run(["ip", "link", "set", "eth0", "mtu", "1500"])


def test_the_way_ends_at_silence_and_a_firewall_that_lets_pings_in_is_no_silence(ground: Ground) -> None:
    rules = "table inet t { chain i { type filter hook input priority 0; meta l4proto udp drop; }; }"
    ground.centre.run(["nft", rules])
    try:
        assert ground.json("trace", ground.centre.address, "--device", "eth1")["reached"] is True
    finally:
        ground.centre.run(["nft", "delete", "table", "inet", "t"])
    rules = (
        f"table inet t {{ chain f {{ type filter hook forward priority 0; ip daddr {ground.centre.address} drop; }}; }}"
    )
    ground.second.run(["nft", rules])
    try:
        code, said, _complaint = ground.run("trace", ground.centre.address, "--device", "eth1")
    finally:
        ground.second.run(["nft", "delete", "table", "inet", "t"])
    assert code == 1
    assert said.count("silent") == 5
    assert f"The last to answer: {ground.second.address}" in said


def test_what_a_router_says_late_ends_the_way(ground: Ground) -> None:
    code, said, _complaint = ground.run("trace", "198.51.100.77", "--device", "eth1")
    assert code == 1
    assert f"{ground.second.address} says: nobody answers at that address" in said


# Where the fault is


def test_a_line_that_is_well(ground: Ground) -> None:
    for device, router in (("eth0", ground.first), ("eth1", ground.second)):
        for target, index in ((ground.centre.address, 0), (ground.centre.address6, 1)):
            where, line = ground.judged(device, target)
            assert where == "well"
            assert line["gateway"] == next(iter(router.legs.values()))[index]
            assert line["gateway_answers"] is True
    assert ground.judged("eth1")[0] == "well", "as far as its gateway"


def test_a_gateway_that_is_known_on_its_link_only(ground: Ground) -> None:
    shown = json.loads(ground.first.run(["ip", "-j", "-6", "addr", "show", "dev", "eth0", "scope", "link"]).stdout)
    [local] = [info["local"] for each in shown for info in each.get("addr_info", ()) if info.get("scope") == "link"]
    routes = ["ip", "-6", "route", "replace", "default", "dev", "eth0", "via"]
    ground.edge.run([*routes, local])
    try:
        where, line = ground.judged("eth0", ground.centre.address6)
        assert (where, line["gateway"], line["gateway_answers"]) == ("well", local, True)
        assert ground.json("ping", local, "--device", "eth0", "--count", "1")["received"] == 1
        assert ground.json("trace", f"{local}%eth0")["reached"] is True
    finally:
        ground.edge.run([*routes, ground.first.address6])


def test_faults_that_are_here(ground: Ground) -> None:
    centre = ground.centre.address
    assert ground.judged("eth7", centre)[0] == "no_device"
    with ground.edge.unplugged("isp-two"):
        assert ground.judged("eth1", centre)[0] == "no_cable"
    ground.edge.run(["ip", "link", "add", "spare", "type", "veth", "peer", "name", "other"])
    try:
        assert ground.judged("spare", centre)[0] == "off"
        for each in ("spare", "other"):
            ground.edge.run(["ip", "link", "set", each, "up"])
        assert ground.judged("spare", centre)[0] == "no_address"
        ground.edge.run(["ip", "addr", "add", "169.254.7.7/16", "dev", "spare"])
        assert ground.judged("spare", centre)[0] == "no_address", "nobody gave it that one"
        ground.edge.run(["ip", "addr", "add", "10.99.0.2/24", "dev", "spare"])
        assert ground.judged("spare", centre)[0] == "no_gateway"
        assert ground.judged("spare", "10.99.0.9")[0] == "neighbour_silent"
        assert ground.judged("spare", ground.centre.address6)[0] == "no_address", "none of that kind"
    finally:
        ground.edge.run(["ip", "link", "delete", "spare"])


def test_a_gateway_that_is_dead_is_told_from_what_lies_beyond(ground: Ground) -> None:
    assert ground.judged("eth1", ground.centre.address)[0] == "well", "so it is known to the kernel"
    with ground.second.unplugged("isp-two"):
        where, line = ground.judged("eth1", ground.centre.address)
        assert (where, line["gateway"], line["gateway_answers"]) == ("gateway_silent", ground.second.address, False)
    with ground.net.blackhole(ground.centre):
        where, line = ground.judged("eth1", ground.centre.address)
        assert (where, line["gateway_answers"]) == ("distant", True)
        assert "centralino edge trace" in line["hint"]


def test_a_gateway_that_says_nothing_is_heard_all_the_same(ground: Ground) -> None:
    rules = "table inet t { chain o { type filter hook output priority 0; meta l4proto icmp drop; }; }"
    ground.second.run(["nft", rules])
    try:
        ground.edge.run(["ip", "neigh", "flush", "dev", "eth1"])
        with ground.net.blackhole(ground.centre):
            where, line = ground.judged("eth1", ground.centre.address)
        assert (where, line["gateway_answers"]) == ("distant", True), "it answers ARP"
    finally:
        ground.second.run(["nft", "delete", "table", "inet", "t"])


# Names


class Truncating(NameServer):
    """Says by UDP that its answer is too long, and the answer by TCP."""

    def __init__(self, host: Host, *records: str) -> None:
        super().__init__(host, *records)
        self._stream = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._stream.bind((host.address, 53))
        self._stream.listen()
        self.by_stream = 0
        threading.Thread(target=self._streams, daemon=True).start()

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = super()._answer(question)
        answer.flags |= dns.flags.TC
        answer.answer.clear()
        return answer

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asker, _address = self._stream.accept()
                with asker, asker.makefile("rb") as asked:
                    question = dns.message.from_wire(asked.read(int.from_bytes(asked.read(2), "big")))
                    wire = super()._answer(question).to_wire()
                    asker.sendall(len(wire).to_bytes(2, "big") + wire)
                    self.by_stream += 1

    def __exit__(self, *why: Any) -> None:
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        super().__exit__(*why)


RECORDS = (f"{NAME}. 60 IN A 198.51.100.7", f"{NAME}. 60 IN AAAA 2001:db8:2::7")


def test_each_name_server_answers_for_itself(ground: Ground) -> None:
    nowhere = "198.51.100.99"
    with NameServer(ground.centre, *RECORDS) as names:
        for device, router in (("eth0", ground.first), ("eth1", ground.second)):
            ground.edge.ask_names_of(ground.centre.address, nowhere, router.address_on("provider"))
            good, silent, shut = ground.json("dns", NAME, "--device", device)["servers"]
            assert (good["addresses"], good["fault"]) == (["198.51.100.7", "2001:db8:2::7"], "")
            assert (silent["server"], silent["addresses"]) == (nowhere, [])
            assert silent["fault"] in (
                "it doesn't answer",
                "nobody answers there, nor where packets for it would go next",
            )
            assert shut["fault"] == "the host answers that nothing listens there"
        ground.edge.ask_names_of(ground.centre.address)
        [answer] = ground.json("dns", "no.example.com", code=1)["servers"]
        assert answer["fault"] == "it says that there is no such name"
        names.failing = "AAAA"
        [answer] = ground.json("dns", NAME)["servers"]
        assert (answer["addresses"], answer["fault"]) == (["198.51.100.7"], "it says that it can't find out now")
        names.garbled = True
        [answer] = ground.json("dns", NAME, code=1)["servers"]
        assert answer["fault"] == "what it answers can't be read"
        assert ("no.example.com.", "A") in names.asked


def test_a_long_answer_is_fetched_by_tcp(ground: Ground) -> None:
    ground.edge.ask_names_of(ground.centre.address)
    with Truncating(ground.centre, *RECORDS) as names:
        [answer] = ground.json("dns", NAME, "--device", "eth1")["servers"]
        assert (answer["addresses"], answer["fault"]) == (["198.51.100.7", "2001:db8:2::7"], "")
        assert names.by_stream == 2


def test_a_name_is_looked_up_and_a_line_whose_names_fail_is_told_from_a_dead_one(ground: Ground) -> None:
    ground.edge.ask_names_of(ground.centre.address)
    with NameServer(ground.centre, f"{NAME}. 60 IN A {ground.centre.address}") as names:
        found = ground.json("ping", NAME, "--device", "eth1", "--count", "1")
        assert (found["address"], found["received"]) == (ground.centre.address, 1)
        assert ground.judged("eth1", NAME)[0] == "well"
        names.says()
        where, line = ground.judged("eth1", NAME)
        assert (where, line["gateway_answers"]) == ("no_name", True)
        code, _said, complaint = ground.run("ping", NAME)
        assert code == 1
        assert "can't be looked up here" in complaint


# The edge's lines


def test_lines_are_known_by_their_numbers(ground: Ground) -> None:
    with tempfile.TemporaryDirectory() as top, telling(ground, Path(top)) as env:
        for number, device in ((1, "eth0"), (2, "eth1")):
            assert (
                ground.json("ping", ground.centre.address, "--line", str(number), "--count", "1", **env)["device"]
                == device
            )
        with ground.edge.unplugged("isp-two"):
            code, said, _complaint = ground.run("check", **env)
        assert code == 1
        assert f"Line 1 (eth0): {ground.centre.address} answers by eth0" in said
        assert "Line 2 (eth1): nothing is at the other end of the cable of eth1" in said
        assert ground.run("check", "--line", "1", **env)[0] == 0
        code, _said, complaint = ground.run("check", "--line", "3", **env)
        assert (code, "this edge has no line 3" in complaint) == (1, True)


@contextlib.contextmanager
def telling(ground: Ground, top: Path) -> Iterator[dict[str, str]]:
    """An agent as far as it tells its lines; the environment in which it is found."""
    place = top / "run" / "edge.sock"
    place.parent.mkdir()
    for each in (top, place.parent):
        each.chmod(0o755)
    lines = [
        {"line": 1, "device": "eth0", "centre": ground.centre.address},
        {"line": 2, "device": "eth1", "centre": ground.centre.address},
    ]

    def tell(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as asker:
                    asker.sendall(json.dumps({"lines": lines}).encode())

    with listening(place, 0o666) as listener:
        listener.listen()
        teller = threading.Thread(target=tell, args=[listener], daemon=True)
        teller.start()
        yield {"CENTRALINO_EDGE": str(top), "CENTRALINO_EDGE_RUN": ""}
        listener.shutdown(socket.SHUT_RDWR)
        teller.join(5)


@pytest.mark.parametrize(
    "words",
    [["ping", "--", "-c1"], ["ping", "a b"], ["ping", "198.51.100.777"], ["trace", "host;id"], ["dns", "192.0.2.1"],
     ["ping", "192.0.2.1", "--device", "eth0/../x"], ["check", "--device=-x"], ["ping", "192.0.2.1", "--count", "1000"]],
)  # fmt: skip
def test_what_is_no_host_and_no_interface_is_refused(ground: Ground, words: list[str]) -> None:
    code, said, complaint = ground.run(*words)
    assert code in (1, 2)
    assert said == ""
    assert complaint
