"""OpenVPN's client and its server, each in another session than the other: seen at the relay, without their keys."""

from __future__ import annotations

import pytest

from appliance.failover.relay.openvpn import APART_S, Apart

CONTROL = bytes([4 << 3]) + b"session8" + bytes(40)
PACE_S = 0.02


def data(peer: int, number: int = 1) -> bytes:
    """A packet in the tunnel (``P_DATA_V2``), as both ends send it."""
    return bytes([9 << 3]) + peer.to_bytes(3, "big") + number.to_bytes(4, "big") + bytes(60)


def anew(client: int, server: int, for_s: float, apart: Apart | None = None) -> list[float]:
    """When the client is to begin anew: both send a packet of their session every 20 ms."""
    apart, found = apart or Apart(), []
    for step in range(round(for_s / PACE_S)):
        apart.sent(data(client, step))
        if apart.heard(data(server, step), step * PACE_S):
            found.append(step * PACE_S)
    return found


def test_who_talks_past_the_other_begins_anew_after_two_seconds() -> None:
    assert anew(client=0, server=153, for_s=3) == [pytest.approx(APART_S)]


@pytest.mark.parametrize("peer", [0, 1, 153, 0xFFFFFF])
def test_in_one_session_nobody_does(peer: int) -> None:
    assert anew(client=peer, server=peer, for_s=60) == []


def test_what_is_on_its_way_of_the_former_session_is_no_sign() -> None:
    """Over the slowest line; then a quiet tunnel, where only pings come, every three seconds."""
    apart = Apart()
    assert anew(client=7, server=0, for_s=1.4, apart=apart) == []
    assert not apart.heard(data(7), 4.4)
    apart.sent(data(7))
    assert not apart.heard(data(0), 4.5)  # one that was late
    apart.sent(data(7))
    assert not apart.heard(data(7), 7.4)


def test_a_client_that_says_nothing_and_one_of_which_nothing_is_known_are_left_alone() -> None:
    apart = Apart()
    assert not any(apart.heard(data(1), at) for at in range(20))
    apart.sent(data(0))
    assert not any(apart.heard(data(1), 20 + at) for at in range(20))  # it has sent nothing since


def test_only_packets_in_the_tunnel_are_read_and_an_empty_one_is_none() -> None:
    apart = Apart()
    apart.sent(data(0))
    for step in range(200):
        for other in (CONTROL, b"", bytes([6 << 3]) + bytes(40)):
            apart.sent(other)
            assert not apart.heard(other, step * PACE_S)
    assert not apart.heard(data(0), 5)
