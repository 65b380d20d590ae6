"""Document → protected branches, their paths, and what the centre's relays go by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from appliance.applier.plan import build
from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError
from appliance.core.plan import Effect, WriteFile
from appliance.failover import plan
from appliance.failover.verify import verify
from appliance.vpn.addresses import daemons_for, ours
from appliance.vpn.slices import plan as slices
from tests import strategies
from tests.unit.vpn.test_vpn_plan import TWO, Row, branch, concentrator, document, site


def line(id: str, number: int, device: str, at: str = "torino", **more: Any) -> Row:
    return "wan_line", {"id": id, "name": id, "site": at, "number": number, "device": device, **more}


FIBRE, LTE = line("fibre", 1, "wan"), line("lte", 3, "wwan0", role="metered", monthly_gb=20)


def told(made: Document) -> set[tuple[str, str, str]]:
    return {(fault.path, fault.error_id, fault.severity) for fault in verify(made)}


def test_a_path_is_one_line_to_one_address_of_the_centre() -> None:
    slice = slices.plan(document(*TWO, FIBRE, LTE), "torino", 4)
    assert slice is not None
    assert [(each.number, each.role, each.device, each.host, each.port, each.monthly_gb) for each in slice.paths] == [
        (0, "primary", "wan", "vpn.example.com", 1170, None),
        (1, "primary", "wan", "198.51.100.7", 1170, None),
        (8, "metered", "wwan0", "vpn.example.com", 1170, 20),
        (9, "metered", "wwan0", "198.51.100.7", 1170, 20),
    ]
    assert [plan.line_of(each.number) for each in slice.paths] == [1, 1, 3, 3]
    assert slice.copies == "always"
    other = slices.plan(document(*TWO, FIBRE, LTE), "roma", 4)
    assert other is not None
    assert other.paths == ()


def test_a_branch_goes_to_the_relay_beside_its_own_daemon() -> None:
    many = [row for each in range(1, 201) for row in (site(f"s{each}"), branch(f"s{each}", each))]
    made = document(concentrator(relay_port=2000), *many, line("one", 1, "wan", "s2", role="backup"))
    slice = slices.plan(made, "s2", 4)
    assert slice is not None
    assert {each.port for each in slice.paths} == {1171}  # the router's before the centre
    told = json.loads(plan.files(made, 4)[plan.FILE])
    assert told["relays"] == {"0": 2000, "1": 2001}
    assert told["servers"] == {"0": 1194, "1": 1195}
    assert told["sites"]["s2"] == {"number": 2, "server": "1"}
    assert len(told["sites"]) == 200
    assert told["lines"] == {"s2": {"1": {"id": "one", "name": "one", "role": "backup"}}}


def test_relays_are_there_before_the_first_line_and_after_the_last() -> None:
    """Whoever's only line is taken away hears of it through the relay."""
    for rows in ((), (FIBRE,)):
        made = document(*TWO, *rows)
        assert plan.outer_ports(made, 1) == (1194, 1170)
        assert json.loads(plan.files(made, 1)[plan.FILE])["sites"].keys() == {"torino", "roma"}
    nobody = document(*TWO[:3])
    assert plan.outer_ports(nobody, 1) == (1194,)
    assert plan.files(nobody, 1) == {}


def test_nobody_reaches_a_daemon_where_all_come_by_relays() -> None:
    safe = (concentrator(direct=False, pool6="fd00:1:2:3::/64"), *TWO[1:], FIBRE, line("adsl", 1, "wan", "roma"))
    assert plan.outer_ports(document(*safe), 1) == (1170,)
    assert told(document(*safe)) == set()
    others = (
        concentrator(direct=False, third_party=True),
        *TWO[1:],
        FIBRE,
        site("bari"),
        branch("bari", 3, router="third_party"),
    )
    assert plan.outer_ports(document(*others), 1) == (1209, 1170)
    assert told(document(*others)) == {("branch/roma/site", "branch_without_relay", "error")}
    assert plan.outer_ports(document(), 1) == ()


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ((FIBRE, LTE), set()),
        ((FIBRE, line("second", 1, "wan2")), {("wan_line/second/number", "line_number_taken", "error")}),
        ((FIBRE, line("second", 2, "wan")), {("wan_line/second/device", "line_device_taken", "error")}),
        ((FIBRE, line("second", 1, "wan", "roma")), set()),
        ((line("far", 1, "wan", "bari"), site("bari")), {("wan_line/far/site", "line_without_branch", "warning")}),
        (
            (line("far", 1, "wan", "bari"), site("bari"), branch("bari", 3, router="third_party")),
            {("wan_line/far/site", "line_of_other_maker", "warning")},
        ),
    ],
)
def test_lines_that_cannot_be(rows: tuple[Row, ...], faults: set[tuple[str, str, str]]) -> None:
    assert told(document(*TWO, *rows)) == faults


def entered(*addresses: str, gateways: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "static", "addresses": list(addresses), "gateways": list(gateways)}


@pytest.mark.parametrize(
    ("access", "faults"),
    [
        (entered("198.51.100.2/30", gateways=("198.51.100.1",)), {}),
        (entered("198.51.100.2/30", gateways=("198.51.100.1",)) | {"name_servers": ["203.0.113.53"]}, {}),
        (entered("198.51.100.2/30", "2001:db8::2/64", gateways=("198.51.100.1", "fe80::1")), {}),
        (entered("198.51.100.2/30", "198.51.100.9/29", gateways=("198.51.100.10",)), {}),
        (entered("198.51.100.2/30", gateways=("198.51.100.5",)), {0: "gateway_elsewhere"}),
        (entered("198.51.100.2/30", gateways=("169.254.0.1",)), {0: "gateway_elsewhere"}),
        (entered("198.51.100.2/30", gateways=("198.51.100.2",)), {0: "gateway_is_us"}),
        (entered("198.51.100.2/29", gateways=("198.51.100.1", "198.51.100.3")), {1: "gateway_twice"}),
        (entered("2001:db8::2/64", gateways=("2001:db8:1::1", "198.51.100.1")), {0: "gateway_elsewhere", 1: "gateway_elsewhere"}),
    ],
)  # fmt: skip
def test_the_router_of_a_line_is_a_neighbour_and_somebody_else(access: dict[str, Any], faults: dict[int, str]) -> None:
    found = told(document(*TWO, line("fibre", 1, "wan", access=access)))
    assert found == {(f"wan_line/fibre/access.gateways[{at}]", error, "error") for at, error in faults.items()}


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("198.51.100.2", "no length of its network"),
        ("198.51.100.0/30", "its network's own address"),
        ("198.51.100.3/30", "broadcast"),
        ("127.0.0.2/8", "no address that a machine can have"),
        ("224.0.0.5/24", "no address that a machine can have"),
        ("fe80::5/64", "no address that a machine can have"),
        ("2001:db8::/64", "its network's own address"),
        ("198.51.100.2/33", "198.51.100.2/33"),
    ],
)
def test_an_address_that_no_machine_has_is_refused(address: str, wrong: str) -> None:
    with pytest.raises(InvalidError) as told:
        document(line("fibre", 1, "wan", access=entered(address, gateways=("198.51.100.1",))))
    assert wrong in told.value.message
    assert "access.static.addresses" in told.value.message or "access.addresses" in told.value.message


def test_ends_of_small_networks_are_addresses() -> None:
    for address in ("198.51.100.0/31", "198.51.100.1/31", "198.51.100.7/32", "2001:db8::/127"):
        document(line("fibre", 1, "wan", access=entered(address, gateways=("198.51.100.1",))))


def test_an_edge_hears_of_the_lines_that_it_sets_up_and_of_no_others() -> None:
    static = entered("198.51.100.2/30", gateways=("198.51.100.1",))
    rows = (
        FIBRE,
        line("adsl", 2, "wan2", access={"type": "dhcp"}),
        line("old", 4, "wan4", access=static, enabled=False),
    )
    slice = slices.plan(document(*TWO, *rows, line("lte", 3, "wwan0", access=static)), "torino", 4)
    assert slice is not None
    assert [(each.number, each.device, each.access.type) for each in slice.links] == [
        (2, "wan2", "dhcp"),
        (3, "wwan0", "static"),
    ]


@pytest.mark.parametrize(
    ("more", "faults"),
    [
        ({"relay_port": 65521}, set()),
        ({"relay_port": 65522}, {("concentrator/vpn/relay_port", "no_relay_ports_left")}),
        ({"relay_port": 1179}, set()),
        ({"relay_port": 1180}, {("concentrator/vpn/relay_port", "relay_ports_taken")}),
        ({"relay_port": 1209}, {("concentrator/vpn/relay_port", "relay_ports_taken")}),
        ({"relay_port": 1210}, set()),
        (
            {"addresses": [{"host": "192.0.2.1", "relay_port": 1200}]},
            {("concentrator/vpn/addresses[0].relay_port", "relay_ports_taken")},
        ),
    ],
)
def test_ports_of_relays_and_daemons_are_apart(more: dict[str, Any], faults: set[tuple[str, str]]) -> None:
    assert {(path, error) for path, error, _severity in told(document(concentrator(**more)))} == faults


def test_more_addresses_than_paths_are_told() -> None:
    five = concentrator(addresses=[{"host": f"192.0.2.{each}"} for each in range(1, 6)])
    made = document(five, *TWO[1:], FIBRE)
    assert ("concentrator/vpn/addresses[4]", "addresses_beyond_paths", "warning") in told(made)
    slice = slices.plan(made, "torino", 1)
    assert slice is not None
    assert [each.number for each in slice.paths] == [0, 1, 2, 3]


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(strategies.documents(complete=True))
def test_whatever_verify_lets_pass_has_numbers_and_ports_that_can_be(made: Document) -> None:
    found: list[Fault] = list(verify(made))
    if any(fault.severity == "error" for fault in found):
        return
    for text in plan.files(made, 2).values():
        plain = json.loads(text)
        assert plain["sites"].keys() == ours(made).keys()
        assert plain["lines"].keys() == plan.protected(made).keys()
        assert {each["server"] for each in plain["sites"].values()} <= plain["servers"].keys() == plain["relays"].keys()
        assert len(plain["relays"]) == daemons_for(len(ours(made)), 2)
        assert not set(plain["relays"].values()) & set(plain["servers"].values())


def test_a_commit_tells_what_lines_cost() -> None:
    """The first line of a branch, and the last, move its tunnel; those between don't."""

    def effect(before: tuple[Row, ...], after: tuple[Row, ...]) -> Effect:
        old, new = (
            slices.files(document(*TWO, *rows), 1) | plan.files(document(*TWO, *rows), 1) for rows in (before, after)
        )
        changed = {name: text for name, text in new.items() if old.get(name) != text}
        made = build(dict(old), dict(new))
        assert {step.name for step in made.steps if isinstance(step, WriteFile)} == changed.keys()
        return max((step.effect for step in made.steps if isinstance(step, WriteFile)), key=list(Effect).index)

    assert effect((), (FIBRE,)) is Effect.DROPS_CONNECTIONS
    assert effect((FIBRE,), (FIBRE, LTE)) is Effect.LIVE
    assert effect((FIBRE, LTE), (FIBRE,)) is Effect.LIVE
