"""Other rules are loaded while voice comes in: who is let in before and after is let in meanwhile; and the kernel has what a whole load would give it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from appliance.core.document import Document
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import TABLE, digest_in, script
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.system import objects

PORT, PACE_S, LOADS = 12000, 0.0005, 120
RCVBUFFORCE = 33
"""``SO_RCVBUFFORCE``, which Python has no name for."""


@dataclass
class Ground:
    """The appliance, a phone, and its kernel."""

    pbx: Host
    phone: Host
    kernel: Kernel

    def rules(self, *networks: tuple[str, str, list[str]], blocked: tuple[str, ...] = ("203.0.113.128/25",)) -> str:
        """The phones' network among others: name, zone, addresses; in this order."""
        rows = [
            ("company", {"id": "demo", "name": "Demo Srl"}),
            ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.31.0.0/24"]}),
            ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": self.pbx.address}),
            *(
                [("address_list", {"id": "bad", "name": "Bad", "action": "block", "networks": list(blocked)})]
                if blocked
                else []
            ),
            *(("network", {"id": name, "name": name, "zone": zone, "networks": nets}) for name, zone, nets in networks),
        ]
        return script(promise(Document.of(objects(rows)), Machine()))

    def listed(self) -> str:
        """What the kernel has, without what it counts and what comes and goes by itself; objects in order of their names."""
        text = self.pbx.run(["nft", "--stateless", "list", "table", "inet", TABLE]).stdout
        blocks = re.findall(r"^\t(\w+ \S+ \{\n.*?^\t\})$", text, re.MULTILINE | re.DOTALL)
        assert len(blocks) > 20
        return "\n".join(sorted(re.sub(r" *\n", "\n", each) for each in blocks))


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    require_root()
    with Network() as net:
        yield Ground(net.host("pbx"), net.host("phone"), Kernel(net.hosts["pbx"].namespace))


def variants(ground: Ground) -> list[str]:
    """The phone may send voice in each of them: by a set of its own, by one that is another's too, by one of another name, by a wider network."""
    phones, one = ("phones", "voice", [f"{ground.phone.address}/32"]), [f"{ground.phone.address}/32"]
    more = [f"10.{number}.0.0/16" for number in range(40, 90)]
    return [
        ground.rules(phones),
        ground.rules(("annex", "voice", ["10.33.0.0/24"]), phones),  # the group has another name now
        ground.rules(("phones", "voice", [*more, *one]), blocked=("203.0.113.128/25", *(f"10.{number}.0.0/16" for number in range(100, 200)))),
        ground.rules(("every", "voice", ["192.0.2.0/24"]), ("office", "management", ["10.35.0.0/24"])),
        ground.rules(phones, ("office", "management", ["10.35.0.0/24"]), blocked=()),
    ]  # fmt: skip


def test_nothing_of_a_stream_is_lost_while_other_rules_are_loaded(ground: Ground) -> None:
    rules = variants(ground)
    assert len({digest_in(each) for each in rules}) == len(rules)
    ground.kernel.load(rules[0])
    over = threading.Event()
    at = (ground.pbx.address, PORT)
    with ground.pbx.socket() as heard, ground.phone.socket() as said:
        heard.bind(at)
        heard.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 64 << 20)
        sent = [0]

        def stream() -> None:
            due = time.monotonic()
            while not over.is_set():
                said.sendto(sent[0].to_bytes(4, "big"), at)
                sent[0] += 1
                due = max(due + PACE_S, time.monotonic() - 0.01)  # a pause of the machine is not caught up by a flood
                time.sleep(max(0.0, due - time.monotonic()))

        sender = threading.Thread(target=stream)
        sender.start()
        try:
            for number in range(1, LOADS + 1):
                ground.kernel.load(rules[number % len(rules)])
        finally:
            over.set()
            sender.join()
        heard.settimeout(0.5)
        came = []
        while len(came) < sent[0]:
            try:
                came.append(int.from_bytes(heard.recv(64), "big"))
            except TimeoutError:
                break
        assert sent[0] > LOADS
        assert sorted(set(range(sent[0])) - set(came)) == []
    counted = {each.name: each.packets for each in ground.kernel.counters()}
    assert counted["media"] == sent[0], "counters go on"
    assert counted["closed"] == 0


def test_whatever_stood_before_the_kernel_has_what_a_whole_load_gives(ground: Ground) -> None:
    rules = variants(ground)
    whole = []
    for each in rules:
        ground.kernel.unload()
        ground.kernel.load(each)
        whole.append(ground.listed())
    for number in (0, 3, 1, 4, 2, 0, 2, 4, 1, 3, 0):
        ground.kernel.load(rules[number])
        assert ground.kernel.digest() == digest_in(rules[number])
        assert ground.listed() == whole[number]


@pytest.mark.parametrize(
    ("made", "whole"),
    [
        ("add chain inet {table} mine", False),
        ("add set inet {table} mine {{ type ipv4_addr; flags interval; }}", False),
        ("add counter inet {table} mine", False),
        ("insert rule inet {table} input accept", False),
        ("add map inet {table} mine {{ type ipv4_addr : verdict; }}", True),
        ("add set inet {table} network-extra-4 {{ type inet_service; }}", True),
    ],
    ids=["chain", "set", "counter", "rule", "map", "set of another kind"],
)
def test_what_was_made_by_hand_is_gone(
    ground: Ground, made: str, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = ground.rules(("phones", "voice", ["192.0.2.0/24"]))
    second = ground.rules(("extra", "management", ["10.44.0.0/24"]), ("phones", "voice", ["192.0.2.0/24"]))
    assert "set network-extra-4 {" in second
    ground.kernel.unload()
    ground.kernel.load(second)
    right = ground.listed()
    ground.kernel.unload()
    ground.kernel.load(first)
    before = {each.name: each for each in ground.kernel.counters()}
    assert before
    ground.pbx.run(["nft", made.format(table=TABLE)])
    ground.kernel.load(second)
    assert ground.listed() == right
    said = "rules are replaced as a whole" in caplog.text
    assert said == (whole and "map" not in made)
