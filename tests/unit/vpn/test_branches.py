from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.openvpn_messages import ByteCount, ClientStep, Parser
from appliance.engine.openvpn_status import Missed, Snapshot, Standing, Version, parse_status
from appliance.vpn.branches import JUST_S, SAMPLES_MAX, Branches
from tests.hil.agents.openvpn_replay import heard, status

STATUS = parse_status(status(2)[:-1])
MILAN = next(client for client in STATUS.clients if client.common_name == "milan")
STEPS = [message for message in Parser().feed(heard("server")) if isinstance(message, ClientStep)]
GONE = Standing("gone", 0.0)


def snapshot(*clients: object, at: int = STATUS.at) -> Snapshot:
    return Snapshot(0.0, Version("OpenVPN", 5), 1, None, replace(STATUS, clients=clients, at=at))  # type: ignore[arg-type]


def test_rows_of_a_real_server() -> None:
    branches = Branches()
    for step in STEPS[:2]:
        branches.take("udp-1", step, 0.0)
    branches.take("udp-1", snapshot(*STATUS.clients), 1.0)
    milan, rome = branches.rows()
    assert (milan.common_name, rome.common_name) == ("milan", "rome")
    assert milan.daemon == "udp-1"
    assert milan.networks == (IPv4Network("192.168.7.0/24"),)
    assert (milan.version, milan.platform) == ("2.6.14", "linux")
    assert milan.serial == cast(str, STEPS[0].fields["tls_serial_hex_0"]).replace(":", "")
    assert milan.received == MILAN.received
    assert milan.received_rate is None
    assert milan.sessions == 1


def test_sessions_are_told_anew_after_each_snapshot_only_and_are_the_youngest() -> None:
    branches = Branches()
    assert branches.sessions() == ()
    branches.take("udp-1", snapshot(MILAN), 1.0)
    found = branches.sessions()
    assert [(each.common_name, each.daemon, each.inside) for each in found] == [("milan", "udp-1", MILAN.virtual4)]
    branches.take("udp-1", ByteCount(MILAN.cid, 1, 1), 1.5)
    assert branches.sessions() is found
    later = replace(MILAN, cid=MILAN.cid + 9, connected_since=MILAN.connected_since + 5)
    branches.take("udp-2", snapshot(later), 2.0)
    assert [(each.daemon, each.cid) for each in branches.sessions()] == [("udp-2", later.cid)]
    branches.take("udp-2", GONE, 3.0)
    assert branches.sessions() == found
    branches.forget("udp-1")
    assert branches.sessions() == ()


def test_who_connected_before_us_has_no_version_and_nobody_takes_another_s() -> None:
    branches = Branches()
    branches.take("udp-1", STEPS[0], 0.0)
    branches.take("udp-2", snapshot(MILAN), 1.0)
    branches.take("udp-1", snapshot(replace(MILAN, connected_since=MILAN.connected_since + 1)), 1.0)
    assert [row.version for row in branches.rows()] == [None]


def test_rates() -> None:
    branches = Branches()
    branches.take("d", snapshot(replace(MILAN, received=1000, sent=0)), 10.0)
    branches.take("d", ByteCount(MILAN.cid, 1100, 50), 10.3)
    assert branches.rows()[0].received_rate is None  # too short to tell
    branches.take("d", ByteCount(MILAN.cid, 2000, 500), 12.0)
    (row,) = branches.rows()
    assert (row.received, row.sent) == (2000, 500)
    assert (row.received_rate, row.sent_rate) == (4000.0, 2000.0)
    for second in range(13, 30):  # nothing more comes, which only the status tells
        branches.take("d", snapshot(replace(MILAN, received=2000, sent=500)), float(second))
    assert branches.rows()[0].received_rate == 0.0


def test_counters_and_clocks_that_go_back_begin_anew() -> None:
    branches = Branches()
    branches.take("d", snapshot(replace(MILAN, received=1000, sent=0)), 10.0)
    branches.take("d", ByteCount(MILAN.cid, 10, 0), 11.0)
    assert branches.rows()[0].received_rate is None
    branches.take("d", ByteCount(MILAN.cid, 1010, 0), 12.0)
    assert branches.rows()[0].received_rate == 8000.0
    branches.take("d", ByteCount(MILAN.cid, 2010, 0), 5.0)
    assert branches.rows()[0].received_rate is None
    branches.take("d", ByteCount(MILAN.cid, 2011, 0), 5.0)
    assert branches.rows()[0].received == 2011


def test_another_session_of_the_same_number_begins_anew() -> None:
    branches = Branches()
    branches.take("d", snapshot(MILAN), 1.0)
    branches.take("d", snapshot(replace(MILAN, connected_since=MILAN.connected_since + 9, received=10**6)), 2.0)
    assert branches.rows()[0].received_rate is None


def test_a_daemon_that_is_gone_leaves_nothing_stale_but_versions_are_remembered() -> None:
    branches = Branches()
    branches.take("d", STEPS[0], 0.0)
    branches.take("d", snapshot(MILAN), 1.0)
    branches.take("other", snapshot(replace(MILAN, common_name="turin")), 1.0)
    branches.take("d", GONE, 2.0)
    branches.take("d", ByteCount(MILAN.cid, 1, 1), 2.0)
    assert [row.common_name for row in branches.rows()] == ["turin"]
    branches.take("d", snapshot(MILAN), 3.0)
    assert [row.version for row in branches.rows()] == ["2.6.14", None]
    branches.forget("d")
    branches.take("d", snapshot(MILAN), 4.0)
    assert [row.version for row in branches.rows()] == [None, None]


def test_what_was_told_of_sessions_that_are_over_is_forgotten() -> None:
    branches = Branches()
    branches.take("d", STEPS[0], 0.0)
    began = int(STEPS[0].fields["time_unix"])
    branches.take("d", snapshot(at=began + JUST_S), 1.0)
    assert branches._peers["d"]
    branches.take("d", snapshot(at=began + JUST_S + 1), 1.0)
    assert not branches._peers["d"]


def test_a_certificate_that_is_used_twice() -> None:
    branches = Branches()
    branches.take("a", snapshot(MILAN), 1.0)
    branches.take("b", snapshot(replace(MILAN, connected_since=MILAN.connected_since + 5, cid=9)), 1.0)
    (row,) = branches.rows()
    assert (row.sessions, row.daemon, row.cid) == (2, "b", 9)


@pytest.mark.parametrize("item", [Missed(3), ByteCount(99, 1, 1), ClientStep("ESTABLISHED", 1), Standing("up", 0.0)])
def test_what_tells_nothing_of_a_branch(item: Missed | ByteCount | ClientStep | Standing) -> None:
    branches = Branches()
    branches.take("d", snapshot(MILAN), 1.0)
    before = branches.rows()
    branches.take("d", item, 1.0)
    assert branches.rows() == before


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=200))
def test_no_order_of_counts_gives_a_rate_below_zero_or_grows(counts: list[tuple[float, int, int]]) -> None:
    branches = Branches()
    branches.take("d", snapshot(MILAN), 0.0)
    for at, received, sent in counts:
        branches.take("d", ByteCount(MILAN.cid, received, sent), at)
        (row,) = branches.rows()
        assert (row.received_rate or 0) >= 0
        assert (row.sent_rate or 0) >= 0
    assert len(branches._daemons["d"].counted[MILAN.cid].samples) <= SAMPLES_MAX
