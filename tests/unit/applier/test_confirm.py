"""The confirm window over restarts and clock jumps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.applier.confirm import Moment, Pending

START = Moment(boot_s=1000, boot_id="a", wall_s=1_800_000_000)
PENDING = Pending(13, 12, 600, START)


def later(seconds: float, *, wall: float | None = None, boot: str = "a", boot_s: float | None = None) -> Moment:
    return Moment(
        START.boot_s + seconds if boot_s is None else boot_s, boot, START.wall_s + (seconds if wall is None else wall)
    )


def test_time_passes() -> None:
    assert PENDING.left(later(0)) == 600
    assert PENDING.left(later(250)) == 350
    assert PENDING.left(later(600)) == PENDING.left(later(10_000)) == 0


def test_a_jump_of_the_wall_clock_changes_nothing_while_the_machine_is_up() -> None:
    assert PENDING.left(later(100, wall=1e9)) == PENDING.left(later(100, wall=-1e9)) == 500


def test_after_a_reboot_the_wall_clock_counts() -> None:
    assert PENDING.left(later(0, boot="b", boot_s=5, wall=200)) == 400
    assert PENDING.left(later(0, boot="b", boot_s=5, wall=700)) == 0


def test_a_clock_that_went_back_during_a_reboot_gives_no_more_than_was_left() -> None:
    looked = PENDING.at(later(400))
    assert looked.left(later(0, boot="b", boot_s=1, wall=-1e9)) == 200


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.sampled_from(["a", "b"]))
def test_never_more_than_was_left_and_never_less_than_nothing(wall: float, boot_s: float, boot: str) -> None:
    left = PENDING.left(Moment(boot_s, boot, START.wall_s + wall))
    assert 0 <= left <= 600
    assert PENDING.at(Moment(boot_s, boot, START.wall_s + wall)).left_s == left
