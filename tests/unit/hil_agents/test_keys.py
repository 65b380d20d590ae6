"""The judge of key tones, judged."""

from __future__ import annotations

import numpy as np
import pytest

from tests.hil.agents.audio import decode_g711, encode_g711, silence, tone
from tests.hil.agents.keys import KEYS, key_tone, keys_in


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
