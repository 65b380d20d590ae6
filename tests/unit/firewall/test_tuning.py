"""Settings of the kernel follow from the document and the memory."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance.core.document import Document, parse
from appliance.core.errors import ApplyError
from appliance.firewall import boot
from appliance.firewall.promise import NEW, Machine, Service, promise
from appliance.firewall.rules import digest_in, script
from appliance.firewall.sysctl import Differing
from appliance.firewall.tuning import LEAST, MOST, flows, parsed, remembered, settings, text
from appliance.kinds import KINDS

GB = 1 << 30
BRANCH: list[tuple[str, dict[str, Any]]] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24"]}),
    ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], "pool6": "fd00:1:2:3::/64"}),
    ("branch", {"id": "torino", "site": "torino", "number": 1}),
]  # fmt: skip


def document(*rows: tuple[str, dict[str, Any]]) -> Document:
    """Of several rows of one kind and id the last holds."""
    found = {(kind, data["id"]): parse(KINDS, kind, data) for kind, data in rows}
    return Document.of(found.values())


def office(extensions: int) -> Document:
    rows: list[tuple[str, dict[str, Any]]] = []
    for n in range(extensions):
        rows.append(("extension", {"id": f"e{n}", "number": str(20000 + n), "label": "E", "site": "hq"}))
        rows.append(("device", {"id": f"d{n}", "extension": f"e{n}", "secret": f"d{n}"}))
    return document(*rows)


def made(found: Document) -> dict[str, str]:
    return {each.key: each.value for each in settings(found, promise(found, Machine()), Machine())}


@pytest.mark.parametrize(
    ("extensions", "memory", "expected"),
    [(0, GB, 65_536), (0, 4 * GB, 262_144), (5000, 4 * GB, 262_144), (5000, GB, 65_536), (0, GB // 16, LEAST), (0, 2048 * GB, 262_144)],
)  # fmt: skip
def test_flows_are_remembered_as_the_memory_allows(extensions: int, memory: int, expected: int) -> None:
    assert remembered(office(extensions), memory) == expected


def test_the_largest_company_has_room_for_all_its_flows_and_no_document_asks_for_too_much() -> None:
    large = office(5000)
    assert flows(large) == 4 * (4096 + 10 * 5000)
    assert flows(large) <= remembered(large, 4 * GB) <= MOST


def test_forwarding_is_on_where_there_are_tunnels_only() -> None:
    assert (made(Document())["net.ipv4.ip_forward"], made(Document())["net.ipv6.conf.all.forwarding"]) == ("0", "0")
    one = document(*BRANCH)
    assert (made(one)["net.ipv4.ip_forward"], made(one)["net.ipv6.conf.all.forwarding"]) == ("1", "0")
    six = document(*BRANCH, ("site", {"id": "torino", "name": "T", "company": "demo", "networks": ["2001:db8:3::/64"]}))
    assert made(six)["net.ipv6.conf.all.forwarding"] == "1"
    keys = [each.key for each in settings(six, promise(six, Machine()), Machine())]
    assert keys[0] == "net.ipv4.ip_forward"  # it puts back what comes after it
    assert keys.index("net.ipv6.conf.*.accept_ra") < keys.index("net.ipv6.conf.all.forwarding")


def test_the_file_says_what_is_set() -> None:
    six = document(*BRANCH, ("site", {"id": "torino", "name": "T", "company": "demo", "networks": ["2001:db8:3::/64"]}))
    found = settings(six, promise(six, Machine()), Machine())
    assert parsed(text(found)) == found
    assert parsed("# a remark = 1\n\ngarbage\n") == ()


def test_a_machine_that_nothing_is_known_of_can_be_set_up_from_private_networks_only() -> None:
    found = promise(Document(), Machine())
    assert {(each.sources, each.service) for each in found.openings} == {(NEW, Service.PORTAL), (NEW, Service.SSH)}
    named = document(("network", {"id": "phones", "name": "P", "zone": "voice", "networks": ["192.0.2.0/24"]}))
    assert NEW not in promise(named, Machine()).groups
    assert NEW not in promise(document(*BRANCH), Machine()).groups


class Kernel:
    """What is loaded. ``refuses``: scripts that hold this text."""

    network_namespace = None

    def __init__(self, refuses: str | None = None) -> None:
        self.refuses, self.loaded, self.tuned = refuses, "", ""

    def load(self, script: str) -> None:
        if self.refuses is not None and self.refuses in script:
            raise ApplyError("the kernel refuses the firewall's rules: no", error_id="rules_refused")
        self.loaded = script

    def tune(self, settings: str) -> tuple[Differing, ...]:
        self.tuned = settings
        return ()


def generation(tmp_path: Path, rules: str | bytes | None) -> Path:
    (tmp_path / "host").mkdir(exist_ok=True)
    if rules is not None:
        (tmp_path / "host/firewall.nft").write_bytes(rules.encode() if isinstance(rules, str) else rules)
        (tmp_path / "host/sysctl.conf").write_text("net.ipv4.ip_forward = 1\n")
    return tmp_path


def test_what_was_committed_is_loaded_at_boot(tmp_path: Path) -> None:
    rules, kernel = script(promise(document(*BRANCH), Machine())), Kernel()
    done = boot.load(generation(tmp_path, rules), kernel)  # type: ignore[arg-type]
    assert (done.committed, done.digest, done.trouble) == (True, digest_in(rules), "")
    assert (kernel.loaded, kernel.tuned) == (rules, "net.ipv4.ip_forward = 1\n")


@pytest.mark.parametrize(
    ("rules", "trouble"),
    [
        (None, "no configuration is there"),
        ("", "the rules on the disk can't be read"),
        (b"\xff\xfe\x00", "the rules on the disk can't be read"),
        ("flush ruleset\n", "the rules on the disk can't be read"),
        (script(promise(document(*BRANCH), Machine())), "the kernel refuses the firewall's rules: no"),
    ],
)
def test_what_cannot_be_loaded_leaves_the_machine_closed(
    tmp_path: Path, rules: str | bytes | None, trouble: str
) -> None:
    kernel = Kernel(refuses="1194")
    done = boot.load(generation(tmp_path, rules), kernel)  # type: ignore[arg-type]
    assert (done.committed, done.trouble) == (False, trouble)
    assert digest_in(kernel.loaded) == done.digest
    assert "policy drop" in kernel.loaded
    assert "from-new-machine" in kernel.loaded
    assert "net.ipv4.ip_forward = 0" in kernel.tuned


def test_a_kernel_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="refuses"):
        boot.load(tmp_path / "nowhere", Kernel(refuses="table"))  # type: ignore[arg-type]


def test_the_unit_comes_before_any_network_and_systemd_reads_it(tmp_path: Path) -> None:
    program = tmp_path / "centralino"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "centralino-firewall.service"
    file.write_text(boot.unit(Path("/var/lib/centralino"), program))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (said.returncode, [line for line in said.stderr.splitlines() if file.name in line]) == (0, [])
    lines = file.read_text().splitlines()
    assert "Before=network-pre.target shutdown.target" in lines
    assert "DefaultDependencies=no" in lines
