"""What is believed of a name server's answer, for how long, and whom we call then."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.names.answers import (
    ADDRESSES,
    KEPT_S,
    LINGER_S,
    POOL_S,
    Answer,
    Known,
    Limits,
    Target,
    judged,
    pause_s,
)

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
LIMITS: Final = Limits(own=("198.51.100.10/32",), ours=("203.0.113.0/24", "10.3.0.0/24"), allowed=("10.9.0.0/16",))


def at(*addresses: str, port: int = 5060, priority: int = 0) -> tuple[Target, ...]:
    return tuple(Target(address=each, port=port, priority=priority) for each in addresses)


def first(known: Known) -> str:
    return known.targets[0].address


@pytest.mark.parametrize(
    "lie",
    [
        "127.0.0.1", "0.0.0.1", "169.254.1.1", "224.0.0.5", "255.255.255.255", "::1", "::ffff:198.51.100.1", "fe80::1", "ff02::1",
        "64:ff9b::7f00:1", "198.51.100.10", "203.0.113.9", "10.3.0.7", "10.1.1.1", "192.168.1.1", "172.31.0.1", "100.64.0.1", "fd00::1",
    ],
)  # fmt: skip
def test_what_no_provider_can_have_is_not_believed(lie: str) -> None:
    believed, refused = judged(at(A, lie), LIMITS)
    assert [each.address for each in believed] == [A]
    assert refused == (str(ipaddress.ip_address(lie)),)


def test_private_addresses_are_believed_where_the_trunk_says_so_but_never_ours() -> None:
    assert judged(at("10.9.1.1"), LIMITS)[0] == at("10.9.1.1")
    loose = Limits(
        own=("198.51.100.10/32",), ours=("10.3.0.0/24",), allowed=("10.3.0.0/24", "198.51.100.0/24", "127.0.0.0/8")
    )
    assert [each.address for each in judged(at("10.3.0.7", "198.51.100.10", "127.0.0.1"), loose)[0]] == ["10.3.0.7"]


def test_of_many_addresses_the_best_are_believed() -> None:
    many = [Target(address=f"198.51.100.{n}", port=5060, priority=n % 3) for n in range(50, 150)]
    believed, refused = judged(many, Limits())
    assert len(believed) == ADDRESSES
    assert {each.priority for each in believed} == {0}
    assert refused == ()


def test_a_provider_that_moves_is_followed_at_once_and_may_call_from_both_for_a_day() -> None:
    known = Known().heard(at(A), (), 0).heard(at(B), (), 60)
    assert [each.address for each in known.targets] == [B, A]
    known = known.heard(at(B), (), POOL_S)
    assert [each.address for each in known.targets] == [B]
    assert known.sources == (A, B)
    assert known.heard(at(B), (), LINGER_S).sources == (B,)


def test_addresses_that_turn_round_change_nothing_once_they_are_known() -> None:
    known = Known()
    turns = itertools.cycle([at(A), at(B), at(C)])
    for answer in itertools.islice(turns, 3):
        known = known.heard(answer, (), 60)
    chosen = first(known)
    for answer in itertools.islice(turns, 30):
        known = known.heard(answer, (), 60)
        assert first(known) == chosen
        assert known.sources == (A, B, C)


def test_priorities_come_first_and_then_weights() -> None:
    known = Known().heard((*at(A, priority=20), *at(B, priority=10)), (), 0)
    assert [each.address for each in known.targets] == [B, A]
    weighed = (Target(address=A, port=5060, weight=10), Target(address=B, port=5060, weight=60))
    assert first(Known().heard(weighed, (), 0)) == B
    assert first(known.heard((*at(A, priority=5), *at(B, priority=10)), (), 60)) == A


def test_failures_keep_what_was_known_for_a_month_and_a_good_answer_ends_them() -> None:
    known = Known().heard(at(A), (), 0).failed("no name server answers", (), KEPT_S - 1)
    assert (known.sources, known.targets) == ((A,), at(A))
    assert known.heard(at(A), (), 60).failing_s == 0
    gone = known.failed("no name server answers", (), 2)
    assert (gone.sources, gone.error) == ((), "no name server answers")


def test_what_becomes_ours_is_forgotten() -> None:
    known = Known().heard(at(A, B), (), 0)
    assert known.within(Limits(own=(f"{A}/32",))).sources == (B,)


def test_pauses_are_bounded() -> None:
    assert [pause_s(Answer(ttl=ttl), 0) for ttl in (0, 59, 300, 2**31)] == [60, 60, 300, 86_400]
    assert [pause_s(Answer(error="x"), n) for n in (1, 2, 3, 6, 1000)] == [30, 60, 120, 900, 900]


@given(st.lists(st.tuples(st.sets(st.sampled_from([A, B, C]), max_size=3), st.floats(0, 90_000)), max_size=30))
def test_nobody_is_called_who_may_not_call_and_nothing_grows_without_end(rounds: list[tuple[set[str], float]]) -> None:
    known = Known()
    for addresses, elapsed in rounds:
        found = at(*sorted(addresses))
        known = known.heard(found, (), elapsed) if found else known.failed("x", (), elapsed)
        assert {each.address for each in known.targets} <= set(known.sources)
        assert addresses <= set(known.sources)
        assert len(known.held) <= 4 * ADDRESSES
        assert Known.model_validate_json(known.model_dump_json()) == known
