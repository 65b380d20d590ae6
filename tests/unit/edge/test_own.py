"""Settings of interfaces that were made at the edge: on trial, and in place of the document's only while that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SECOND, Moment
from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.edge.links.network import Network
from appliance.edge.links.own import SURE, TRIAL, Own
from appliance.edge.paths import EdgePaths
from appliance.failover.model import LINES
from appliance.vpn.slices.model import Link

STATIC = {"type": "static", "addresses": ["198.51.100.2/30"], "gateways": ["198.51.100.1"]}
OTHER = {"type": "static", "addresses": ["203.0.113.2/30"], "gateways": ["203.0.113.1"]}
DHCP = {"type": "dhcp"}


def link(number: int, device: str, access: dict[str, Any]) -> Link:
    return Link.model_validate({"number": number, "device": device, "access": access})


GIVEN = (link(1, "wan", STATIC), link(2, "lte", DHCP))


class Machine:
    def __init__(self) -> None:
        self.uptime, self.boot = 50_000, "boot-1"

    def __call__(self) -> Moment:
        return Moment(1_795_000_000_000, self.uptime, self.boot)


class Branch:
    """An edge, and by which interfaces the centre is reached."""

    def __init__(self, file: Path) -> None:
        self.file, self.machine, self.reached = file, Machine(), set[str]()
        self.given = GIVEN
        self.own = Own(file, self.machine)

    def again(self) -> None:
        """Another process."""
        self.own = Own(self.file, self.machine)

    def look(self, ms: int = 0) -> str | None:
        self.machine.uptime += ms
        return self.own.look(lambda device: device in self.reached)

    def holds(self, device: str = "wan") -> str:
        """How that interface gets its addresses."""
        found = next(each.access for each in self.own.links(self.given) if each.device == device)
        return found.type if found.type == "dhcp" else found.addresses[0]


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    return Branch(tmp_path / "network.json")


def test_what_proves_itself_stays_and_what_doesnt_is_undone(branch: Branch) -> None:
    assert branch.own.links(GIVEN) == GIVEN
    branch.own.change(1, "wan", OTHER, GIVEN)
    assert (branch.holds(), branch.holds("lte")) == ("203.0.113.2/30", "dhcp")
    assert branch.own.told()["trial_s"] == TRIAL // SECOND
    assert branch.look(TRIAL - 1) is None
    branch.again()
    assert branch.holds() == "203.0.113.2/30", "its successor carries it on"
    assert branch.look(1) == "undone"
    assert branch.holds() == "198.51.100.2/30"
    assert branch.look(TRIAL) is None
    branch.own.change(1, "wan", OTHER, GIVEN)
    branch.reached = {"lte"}
    assert branch.look(SURE) is None, "the other line is no proof"
    branch.reached = {"wan"}
    assert branch.look() == "kept"
    branch.again()
    assert branch.look(10 * TRIAL) is None
    assert branch.holds() == "203.0.113.2/30"


def test_that_a_line_was_up_a_moment_ago_proves_nothing(branch: Branch) -> None:
    branch.reached = {"wan"}
    branch.own.change(1, "wan", OTHER, GIVEN)
    assert branch.look(SURE - 1) is None
    assert branch.look(1) == "kept"


def test_of_two_interfaces_on_trial_each_has_to_prove_itself(branch: Branch) -> None:
    branch.own.change(1, "wan", OTHER, GIVEN)
    branch.own.change(2, "lte", STATIC, GIVEN)
    assert branch.own.told()["devices"] == ["wan", "lte"]
    branch.reached = {"lte"}
    assert branch.look(TRIAL - 1) is None, "the one that was set last works, the other doesn't"
    assert branch.look(1) == "undone"
    assert (branch.holds(), branch.holds("lte")) == ("198.51.100.2/30", "dhcp")


def test_no_interface_has_such_a_name(branch: Branch) -> None:
    with pytest.raises(InvalidError) as told:
        branch.own.change(1, "wan; reboot", DHCP, ())
    assert told.value.faults[0].path == "device"
    assert branch.own.links(()) == ()


def test_somebody_says_that_it_is_right(branch: Branch) -> None:
    with pytest.raises(NotFoundError) as told:
        branch.own.keep()
    assert told.value.error_id == "no_trial"
    branch.own.change(1, "wan", DHCP, GIVEN)
    branch.own.keep()
    assert branch.look(10 * TRIAL) is None
    assert branch.holds() == "dhcp"


def test_of_several_changes_in_a_trial_all_are_undone(branch: Branch) -> None:
    branch.own.change(1, "wan", DHCP, GIVEN)
    branch.own.keep()
    branch.own.change(1, "wan", OTHER, GIVEN)
    branch.own.change(2, "lte", STATIC, GIVEN)
    assert branch.look(TRIAL) == "undone"
    assert (branch.holds(), branch.holds("lte")) == ("dhcp", "dhcp")
    branch.own.change(1, "wan", None, GIVEN)
    assert branch.holds() == "198.51.100.2/30", "as the document says"
    assert branch.look(TRIAL) == "undone"
    assert branch.holds() == "dhcp"


def test_a_start_of_the_machine_within_a_trial_undoes_it(branch: Branch) -> None:
    branch.own.change(1, "wan", OTHER, GIVEN)
    branch.machine.boot, branch.machine.uptime = "boot-2", 1_000
    branch.again()
    branch.reached = {"wan"}
    assert branch.look() == "undone"
    assert branch.holds() == "198.51.100.2/30"


def test_the_document_takes_over_when_it_says_something_else(branch: Branch) -> None:
    branch.own.change(1, "wan", OTHER, GIVEN)
    branch.own.keep()
    branch.given = (link(1, "wan", DHCP), GIVEN[1])
    assert branch.holds() == "dhcp"
    branch.given = (link(1, "wan", STATIC), link(2, "lte", STATIC))
    assert branch.holds() == "203.0.113.2/30", "another line's change is no reason"
    branch.given = (GIVEN[1],)
    assert [each.device for each in branch.own.links(branch.given)] == ["lte"]


def test_an_interface_that_the_document_leaves_to_others(branch: Branch) -> None:
    branch.given = ()
    branch.own.change(3, "wan", DHCP, ())
    assert [(each.number, each.device) for each in branch.own.links(())] == [(3, "wan")]
    branch.given = (link(3, "wan", STATIC),)
    assert branch.holds() == "198.51.100.2/30", "it says how, now"


def test_an_edge_that_is_no_branch_yet_has_nothing_on_trial(branch: Branch) -> None:
    branch.own.change(1, "wan", DHCP, (), on_trial=False)
    assert branch.own.told()["trial_s"] is None
    assert branch.look(10 * TRIAL) is None
    assert [each.device for each in branch.own.links(())] == ["wan"]


@pytest.mark.parametrize(
    ("access", "field", "said"),
    [
        ({}, "access", "Unable to extract tag"),
        ("dhcp", "access", ""),
        ({"type": "pppoe"}, "access", ""),
        ({**STATIC, "addresses": []}, "addresses", "at least 1 item"),
        ({**STATIC, "addresses": ["198.51.100.2"]}, "addresses[0]", "no length of its network"),
        ({**STATIC, "gateways": ["198.51.100.9"]}, "gateways[0]", "none of the line's networks"),
        ({**STATIC, "gateways": ["198.51.100.2"]}, "gateways[0]", "the edge's own address"),
        ({**STATIC, "more": 1}, "more", ""),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(
    branch: Branch, access: Any, field: str, said: str
) -> None:
    branch.own.change(1, "wan", OTHER, GIVEN)
    before = branch.file.read_bytes()
    with pytest.raises(InvalidError) as told:
        branch.own.change(1, "wan", access, GIVEN)
    assert told.value.faults[0].path == field
    assert said in told.value.message
    assert branch.file.read_bytes() == before
    assert branch.holds() == "203.0.113.2/30"


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"[]", b'{"settings": 3}', b"\xff"])
def test_garbage_is_no_setting_and_is_kept_to_be_looked_at(branch: Branch, garbage: bytes) -> None:
    branch.file.write_bytes(garbage)
    branch.again()
    assert branch.own.links(GIVEN) == GIVEN
    assert branch.file.with_name("network.json.bad").read_bytes() == garbage
    branch.own.change(1, "wan", DHCP, GIVEN)
    assert json.loads(branch.file.read_bytes())["settings"][0]["device"] == "wan"


def test_a_full_disk_refuses_a_change_and_a_trial_ends_when_there_is_room(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    branch.own.change(1, "wan", OTHER, GIVEN)
    with monkeypatch.context() as patch:
        patch.setattr("appliance.edge.links.own.put", full)
        with pytest.raises(OSError, match="No space"):
            branch.own.change(1, "wan", DHCP, GIVEN)
        assert branch.holds() == "203.0.113.2/30"
        with pytest.raises(OSError, match="No space"):
            branch.look(TRIAL)
    assert branch.look() == "undone"
    assert branch.holds() == "198.51.100.2/30"


def test_an_edge_that_is_no_branch_yet_sets_up_as_many_interfaces_as_a_site_has_lines(tmp_path: Path) -> None:
    network = Network(EdgePaths(tmp_path))
    tmp_path.mkdir(exist_ok=True)
    for number in range(LINES):
        network.set_up(f"eth{number}", DHCP)
    assert [each["number"] for each in network.told()["network"]["settings"]] == [1, 2, 3, 4]
    with pytest.raises(RefusedError) as told:
        network.set_up("eth9", DHCP)
    assert told.value.error_id == "too_many_lines"
    network.set_up("eth1", STATIC)  # one of them, another way
    network.set_up("eth0", None)
    network.set_up("eth9", DHCP)
    assert {each["device"]: each["number"] for each in network.told()["network"]["settings"]}["eth9"] == 1
