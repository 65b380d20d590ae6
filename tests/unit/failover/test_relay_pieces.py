"""What is cut comes together again, whichever half comes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.failover.relay.pieces import WAIT_S, WAITING, Pieces, cut


@given(st.binary(max_size=3000), st.integers(1, 1500), st.booleans())
def test_both_halves_make_the_whole(payload: bytes, room: int, last_first: bool) -> None:
    halves = cut(payload, room)
    if halves is None:
        assert len(payload) > 2 * room
        return
    assert all(len(each) <= room for each in halves)
    pieces = Pieces()
    order = [(True, halves[1]), (False, halves[0])] if last_first else [(False, halves[0]), (True, halves[1])]
    assert pieces.add(7, *order[0], now=1.0) is None
    assert pieces.add(7, *order[0], now=1.0) is None  # by another path too
    assert pieces.add(7, *order[1], now=1.5) == payload


def test_halves_wait_for_a_while_and_only_so_many() -> None:
    pieces = Pieces()
    pieces.add(1, False, b"a", 0.0)
    pieces.add(2, False, b"b", WAIT_S + 0.1)
    assert pieces.add(1, True, b"c", WAIT_S + 0.2) is None
    for number in range(10, 10 + 2 * WAITING):
        pieces.add(number, False, b"x", 2.0)
    assert pieces.add(10, True, b"y", 2.0) is None
    assert pieces.add(9 + 2 * WAITING, True, b"y", 2.0) == b"xy"
