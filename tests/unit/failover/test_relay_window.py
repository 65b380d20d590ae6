"""Each number is taken once, however copies come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.failover.relay.window import Window


class Reference:
    """The same, slowly: a set of everything."""

    def __init__(self, size: int) -> None:
        self.size, self.seen, self.highest = size, set[int](), 0

    def take(self, number: int) -> bool:
        if number <= max(0, self.highest - self.size) or number in self.seen:
            return False
        self.seen.add(number)
        self.highest = max(self.highest, number)
        return True


@given(st.lists(st.integers(0, 200)), st.sampled_from([2, 16, 64]))
def test_it_does_what_a_set_of_everything_does(numbers: list[int], size: int) -> None:
    window, reference = Window(size), Reference(size)
    for number in numbers:
        expected = number not in reference.seen and number > max(0, reference.highest - size)
        assert window.fresh(number) is expected
        assert window.take(number) is reference.take(number)


def test_numbers_go_on_beyond_32_bits() -> None:
    window = Window(16)
    first = 2**32 - 3
    assert [window.take(first + step) for step in range(6)] == [True] * 6
    assert [window.take(first + step) for step in range(6)] == [False] * 6


def test_one_that_is_restored_takes_nothing_twice() -> None:
    window = Window(16, highest=100)
    assert not any(window.take(number) for number in range(101))
    assert window.take(101)


@pytest.mark.parametrize("size", [0, -4, 1, 3, 100])
def test_its_size_is_a_power_of_two(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Window(size)
