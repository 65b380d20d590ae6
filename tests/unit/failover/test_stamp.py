"""STAMP: what is on the wire, who is answered, and what is made of the answers. Through a real tunnel: tests/hil/test_protected_edge.py."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UnavailableError
from appliance.failover.stamp import reflector as reflector_module
from appliance.failover.stamp.packets import (
    SIZE,
    Answer,
    ForeignError,
    Probe,
    answer,
    probe,
    read_answer,
    read_probe,
    session_of,
)
from appliance.failover.stamp.reflected import Reflected
from appliance.failover.stamp.reflector import LASTS_S, LONGEST, SESSIONS, Reflector

KEY = bytes(range(32))
OTHER = bytes(32)
MS = 1_000_000


def test_a_probe_is_laid_out_as_the_rfc_says() -> None:
    """RFC 8762 figure 4, with the session's number of RFC 8972 figure 2."""
    made = probe(KEY, Probe(number=0x01020304, sent=7 * 10**9 + 500 * MS, session=0xABCD), 172)
    assert made[:4] == b"\x01\x02\x03\x04"
    assert made[4:16] == bytes(12)
    assert made[16:24] == b"\x00\x00\x00\x07\x80\x00\x00\x00", "seconds, and half of one"
    assert made[24:26] == b"\x00\x01", "the multiplier is never 0"
    assert made[26:28] == b"\xab\xcd"
    assert made[28:96] == bytes(68)
    assert made[96:112] == hmac.digest(KEY, made[:96], hashlib.sha256)[:16]
    assert made[112:116] == b"\x00\x01\x00\x38", "padding of 56 octets"
    assert len(made) == 172
    assert session_of(made) == 0xABCD


def test_an_answer_is_laid_out_as_the_rfc_says() -> None:
    """RFC 8762 figure 6."""
    of = Probe(number=9, sent=2 * 10**9, session=0xABCD)
    made = answer(KEY, Answer(number=5, received=3 * 10**9, sent=4 * 10**9, probe=of), 61, b"rest")
    assert made[:4] == b"\x00\x00\x00\x05"
    assert made[16:24] == b"\x00\x00\x00\x04" + bytes(4)
    assert made[26:28] == b"\xab\xcd"
    assert made[32:40] == b"\x00\x00\x00\x03" + bytes(4), "when the probe came"
    assert made[48:52] == b"\x00\x00\x00\x09"
    assert made[64:72] == b"\x00\x00\x00\x02" + bytes(4)
    assert made[72:74] == b"\x00\x01"
    assert made[80] == 61
    assert made[96:112] == hmac.digest(KEY, made[:96], hashlib.sha256)[:16]
    assert made[112:] == b"rest"


times = st.integers(0, 2**32 * 10**9 - 1)


@given(st.integers(0, 2**32 - 1), times, times, times, st.integers(1, 65535))
def test_what_is_written_is_read(number: int, sent: int, received: int, back: int, session: int) -> None:
    of = Probe(number, sent, session)
    assert read_probe(KEY, probe(KEY, of, 172)) == of
    assert read_answer(KEY, answer(KEY, Answer(number, received, back, of), 64)) == Answer(number, received, back, of)


@given(st.binary(max_size=300), st.integers(0, SIZE - 1), st.integers(1, 255))
def test_nothing_else_is(garbage: bytes, at: int, change: int) -> None:
    good = probe(KEY, Probe(1, 2, 3))
    bad = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
    for each, key in ((garbage, KEY), (bad, KEY), (good, OTHER), (good[:-1], KEY)):
        with pytest.raises(ForeignError):
            read_probe(key, each)
        with pytest.raises(ForeignError):
            read_answer(key, each)


def ticking() -> itertools.count[int]:
    return itertools.count(1000 * MS, 20 * MS)


def test_only_who_has_a_session_is_answered_and_each_probe_once() -> None:
    made, clock = Reflector(random.Random(1).randbytes), ticking()
    now_ns = lambda: next(clock)  # noqa: E731
    session = made.begin("torino", 0.0)
    one = probe(session.key, Probe(0, 5, session.number), 172)
    found = made.heard(one, 64, 1.0, now_ns)
    assert found is not None
    assert len(found) == len(one), "no more comes back than was sent"
    said = read_answer(session.key, found)
    assert (said.number, said.probe) == (0, Probe(0, 5, session.number))
    assert made.heard(one, 64, 1.0, now_ns) is None, "sent again by somebody"
    stranger = probe(OTHER, Probe(1, 5, session.number), 172)
    assert made.heard(stranger, 64, 1.0, now_ns) is None
    nobody = probe(session.key, Probe(1, 5, session.number ^ 1), 172)
    assert made.heard(nobody, 64, 1.0, now_ns) is None
    assert made.heard(probe(session.key, Probe(1, 5, session.number), LONGEST + 1), 64, 1.0, now_ns) is None
    assert made.heard(b"", 64, 1.0, now_ns) is None
    second = made.heard(probe(session.key, Probe(7, 5, session.number)), 64, LASTS_S - 1, now_ns)
    assert second is not None
    assert read_answer(session.key, second).number == 1, "one more for each that came, whatever its number"
    assert made.heard(probe(session.key, Probe(8, 5, session.number)), 64, LASTS_S, now_ns) is None, "its time is over"


def test_a_sites_next_session_ends_the_former_and_others_stay() -> None:
    made, clock = Reflector(random.Random(1).randbytes), ticking()
    now_ns = lambda: next(clock)  # noqa: E731
    first, other = made.begin("torino", 0.0), made.begin("milano", 0.0)
    second = made.begin("torino", 1.0)
    assert first.key != second.key
    answers = [
        made.heard(probe(each.key, Probe(0, 0, each.number)), 64, 2.0, now_ns) for each in (first, second, other)
    ]
    assert [each is not None for each in answers] == [False, True, True]
    assert str(second.key.hex()) not in repr(second)
    told = made.over("torino", 3.0)
    assert told is not None
    assert told.received == 1
    assert made.over("torino", 3.0) is None


def test_there_are_so_many_at_most_and_they_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reflector(random.Random(1).randbytes)
    for number in range(SESSIONS):
        made.begin(f"site-{number}", 0.0)
    with pytest.raises(UnavailableError) as error:
        made.begin("one-more", 1.0)
    assert error.value.error_id == "measuring"
    session = made.begin("one-more", LASTS_S)
    monkeypatch.setattr(reflector_module, "PROBES", 2)
    found = [made.heard(probe(session.key, Probe(n, 0, session.number)), 64, LASTS_S, lambda: 0) for n in range(3)]
    assert [each is not None for each in found] == [True, True, False]


def a_call(lost_up: set[int], lost_down: set[int], sent: int = 100) -> Reflected:
    """Ten ms there, thirty back; the centre's clock is an hour ahead."""
    made, hour, came = Reflected(), 3600 * 10**9, 0
    for number in range(sent):
        at = number * 20 * MS
        if number in lost_up:
            continue
        came += 1
        if number not in lost_down:
            arrived = at + 10 * MS + hour
            said = Answer(came - 1, arrived, arrived + MS, Probe(number, at, 1))
            assert made.take(said, at + 41 * MS)
            assert not made.take(said, at + 90 * MS), "a copy counts once"
    return made


def test_losses_are_told_apart_by_their_way() -> None:
    result = a_call({3, 4}, {10}).result(100, 98, 60.0)
    assert (result.sent, result.reached, result.returned) == (100, 98, 97)
    assert (result.up.lost, result.down.lost) == (2, 1)
    assert result.rtt_ms == pytest.approx(40)
    assert result.up.gap_ms == 60.0
    assert result.down.gap_ms == pytest.approx(60), "numbers 3 and 4 didn't come back either"
    assert result.up.late_ms == pytest.approx(0), "the clocks needn't agree"
    assert result.up.mos < result.down.mos < 4.4


def test_a_call_that_loses_nothing_is_liked() -> None:
    result = a_call(set(), set()).result(100, 100, 20.0)
    assert (result.up.lost, result.down.lost) == (0, 0)
    assert result.up.mos == result.down.mos > 4.3


def test_nothing_came_back() -> None:
    result = Reflected().result(100, 100, 20.0)
    assert (result.up.lost, result.down.lost) == (0, 100)
    assert result.rtt_ms is None
    assert result.down.mos == 1.0
    assert Reflected().result(0, 0, 0.0).down.lost == 0


def test_what_the_reflector_says_it_had_is_never_less_than_what_came_back() -> None:
    """Its word isn't signed by the packets' key, and answers are."""
    assert a_call(set(), set()).result(100, 7, 20.0).up.lost == 0
