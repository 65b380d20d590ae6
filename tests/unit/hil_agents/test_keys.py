"""The judge of key tones, judged."""

from __future__ import annotations

import numpy as np
import pytest

from tests.hil.agents.audio import decode_g711, encode_g711, silence, tone
from tests.hil.agents.keys import KEYS, events_in, key_tone, keys_in
from tests.hil.agents.pcap import Rtp


@pytest.mark.parametrize("law", ["a", "u"])
def test_all_keys_are_heard_in_their_order_also_twice(law: str) -> None:
    keys = f"{KEYS}1100"
    assert keys_in(decode_g711(encode_g711(key_tone(keys), law), law)) == keys


def test_what_is_no_key_is_none() -> None:
    for samples in (silence(1), tone(440, 1), tone(697, 1), tone(697, 1) + tone(440, 1), np.zeros(0), tone(1336, 0.01)):
        assert keys_in(samples) == ""


def test_a_key_over_another_tone_or_shorter_than_keys_are_is_none() -> None:
    assert keys_in(key_tone("5") + tone(440, 0.2)) == ""
    assert keys_in(key_tone("5", 0.02)) == ""


def test_a_key_that_comes_as_an_event_counts_once_however_many_packets_it_has() -> None:
    def packets(key: int, timestamp: int) -> list[Rtp]:
        return [Rtp(timestamp / 8000, 101, n, timestamp, bytes([key, 10, 0, 160])) for n in range(8)]

    heard = [*packets(2, 0), *packets(9, 1600), *packets(9, 3200), *packets(10, 4800)]
    assert events_in(heard, 101) == [(0.0, "2"), (0.2, "9"), (0.4, "9"), (0.6, "*")]
    assert events_in(heard, 97) == []
