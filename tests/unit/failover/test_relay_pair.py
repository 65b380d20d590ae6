"""Both ends together, over lines that fail in every way: nothing of a call is lost while one line works."""

from __future__ import annotations

import pytest

from appliance.failover.relay.wire import AROUND, Copying, Kind, Role, kind_of
from tests.unit.failover.relay_world import KEY, SITE, Line, World

SLOWER = [0.01, 0.025, 0.7]


def two(backup: Line | None = None, **kwargs: object) -> World:
    world = World({0: Line(), 1: backup or Line(Role.BACKUP, delay=0.03)}, **kwargs)  # type: ignore[arg-type]
    world.run(4.0)
    assert world.edge.bound == {0, 1}
    return world


def test_both_paths_are_bound_within_two_round_trips() -> None:
    world = World({0: Line(delay=0.02), 1: Line(Role.BACKUP, delay=0.05)})
    world.run(0.15)
    assert world.edge.bound == {0}
    world.run(0.15)
    assert world.edge.bound == {0, 1}
    assert set(world.centre.sessions[SITE].where) == {0, 1}


@pytest.mark.parametrize("delay", SLOWER)
@pytest.mark.parametrize("dies", ["both ways", "up", "down"])
def test_the_primary_dies_and_nothing_is_lost(dies: str, delay: float) -> None:
    world = two(Line(Role.BACKUP, delay=delay))
    world.talk(2.0)
    world.lines[0].up = dies == "down"
    world.lines[0].down = dies == "up"
    world.talk(10.0)
    world.lines[0].up = world.lines[0].down = True
    world.talk(10.0)
    world.run(1.0)
    assert world.lost() == (0, 0)


def test_a_line_that_flaps_loses_nothing() -> None:
    world = two()
    for turn in range(40):
        world.lines[0].up = world.lines[0].down = bool(turn % 2)
        world.talk(2.5)
    world.run(1.0)
    assert world.lost() == (0, 0)


def test_loss_on_one_line_is_none_and_on_both_is_the_product() -> None:
    world = two()
    world.lines[0].loss = 0.03
    world.talk(60.0)
    world.run(1.0)
    assert world.lost() == (0, 0)
    world.lines[1].loss = 0.03
    before = world.sent_up
    world.talk(100.0)
    world.run(1.0)
    expected = 0.0009 * (world.sent_up - before)
    assert all(lost <= expected + 3 * expected**0.5 for lost in world.lost())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_all_lines_die_and_one_is_back(order: tuple[int, int]) -> None:
    world = two()
    world.talk(1.0)
    for line in world.lines.values():
        line.up = line.down = False
    world.talk(30.0)
    world.run(1.0)
    lost = world.lost()
    assert min(lost) >= 1490
    first = world.lines[order[0]]
    first.up = first.down = True
    began = world.now
    while world.now < began + 3:
        got = len(world.got_up), len(world.got_down)
        world.talk(0.1)
        if len(world.got_up) > got[0] and len(world.got_down) > got[1]:
            break
    assert world.now - began <= 1.5


def test_what_opens_the_tunnel_waits_for_the_first_path() -> None:
    world = World({0: Line(up=False), 1: Line(Role.BACKUP, delay=0.02)})
    opening = bytes((10 << 3,)) + b"12345678" + b"." * 100
    world._from_edge(world.edge.client(opening, 0, world.now))
    world.run(0.5)
    assert world.got_up == [opening]


def test_an_edge_that_begins_anew_takes_over_at_once() -> None:
    world = two()
    world.talk(1.0)
    world.edge = world.new_edge(2)
    world.run(0.3)
    got = len(world.got_up), len(world.got_down)
    world.talk(1.0)
    world.run(0.5)
    assert (len(world.got_up) - got[0], len(world.got_down) - got[1]) == (50, 50)


def test_a_centre_that_has_forgotten_all_is_found_again() -> None:
    world = two()
    world.talk(1.0)
    fresh = World(world.lines).centre
    world.centre = fresh
    world.run(2.5)
    got = len(world.got_up), len(world.got_down)
    world.talk(1.0)
    world.run(0.5)
    assert (len(world.got_up) - got[0], len(world.got_down) - got[1]) == (50, 50)


def test_a_router_that_forgets_us_costs_nothing_though_it_is_the_only_line() -> None:
    world = World({0: Line(delay=0.02)})
    world.run(2.0)
    world.talk(1.0)
    old = world.lines[0].address
    world.lines[0].address = b"another port"
    world.talk(2.0)
    world.run(0.5)
    up, down = world.lost()
    assert up == 0
    assert down <= 5  # what went to the old address until ours had shown itself: less than a tenth of a second
    assert world.centre.sessions[SITE].where[0].address != old


def test_longer_packets_pass_in_pieces_where_the_path_is_short() -> None:
    world = two(Line(Role.BACKUP, longest=1400))
    ways = world.edge.ways
    assert (ways[0].sizes.limit, ways[1].sizes.limit) == (1472, 1372)
    world.lines[0].up = world.lines[0].down = False
    world.talk(5.0, size=1420)
    world.run(1.0)
    assert world.lost() == (0, 0)


def test_a_path_that_becomes_shorter_is_noticed_in_time() -> None:
    world = two()
    world.lines[0].longest = 1400  # drops what is longer, and says nothing
    world.talk(4.0, size=1420)
    assert world.edge.ways[0].sizes.limit == 1372
    assert world.centre.sessions[SITE].channel.ways[0].sizes.limit == 1372
    world.lines[1].up = world.lines[1].down = False
    world.talk(5.0, size=1420)
    world.run(1.0)
    assert world.lost() == (0, 0)


@pytest.mark.parametrize("copying", list(Copying))
def test_only_calls_cost_anything_on_a_metered_line(copying: Copying) -> None:
    world = World({0: Line(), 1: Line(Role.METERED, delay=0.05)}, copying)
    world.run(120.0)
    idle = world.octets[1, True] + world.octets[1, False]
    for second in range(600):  # what measures the tunnel is marked like voice
        world.at(second, world.send)
    world.run(600.0)
    found = world.octets[1, True] + world.octets[1, False] - idle
    assert found * 6 * 24 * 30 < 150e6  # octets a month while nobody calls
    before = world.octets[1, True]
    world.talk(10.0, tos=0, size=1000)
    assert world.octets[1, True] - before < 5_000
    before = world.octets[1, True]
    world.talk(10.0)
    assert (world.octets[1, True] - before > 500 * 200) is (copying in (Copying.ALWAYS, Copying.CALLS))
    world.run(1.0)
    assert world.lost() == (0, 0)


def test_a_metered_line_takes_over_at_once_when_the_only_other_dies_while_nobody_calls() -> None:
    world = World({0: Line(), 1: Line(Role.METERED, delay=0.05)})
    world.run(30.0)
    world.lines[0].up = world.lines[0].down = False
    world.run(5.0)
    world.talk(5.0)
    world.run(1.0)
    assert world.lost() == (0, 0)


def test_copies_only_while_the_primary_is_weak() -> None:
    world = two(copying=Copying.DEGRADED)
    world.run(15.0)
    before = world.octets[1, True]
    world.talk(10.0)
    assert world.octets[1, True] - before < 20_000
    world.lines[0].loss = 0.05
    world.talk(10.0)
    before = world.octets[1, True]
    world.talk(10.0)
    assert world.octets[1, True] - before > 500 * 200


def test_nothing_else_goes_by_a_line_that_is_used_up_unless_it_is_the_only_one() -> None:
    world = World({0: Line(), 1: Line(Role.METERED, delay=0.05)})
    world.run(4.0)
    world._from_edge(world.edge.cap(frozenset({1}), world.now))
    world.run(1.0)
    before = world.octets[1, True], world.octets[1, False]
    world.talk(10.0)
    assert world.octets[1, True] - before[0] < 10_000
    assert world.octets[1, False] - before[1] < 10_000
    world.lines[0].up = world.lines[0].down = False
    world.talk(10.0)
    world.run(1.0)
    assert max(world.lost()) < 100  # until the silence is noticed
    before_lost = world.lost()
    world.talk(10.0)
    world.run(1.0)
    assert world.lost() == before_lost


def test_a_key_that_is_no_longer_good_ends_its_session() -> None:
    world = two()
    world.talk(1.0)
    world.run(0.5)
    world.centre.let_in({bytes(32): "other"})
    got = len(world.got_up)
    world.talk(3.0)
    assert len(world.got_up) == got
    assert not world.centre.sessions
    world.centre.let_in({KEY: SITE, bytes(32): "other"})
    world.run(8.0)
    world.talk(1.0)
    assert len(world.got_up) > got


def test_the_other_end_tells_when_openvpn_was_started_anew() -> None:
    world = two()
    assert world.edge.generation == 0
    world.centre.generations["bari"] = 77
    world.run(1.2)
    assert world.edge.generation == 77


def test_what_goes_around_a_packet_is_28_octets() -> None:
    world = two()
    world.seen.clear()
    world.send(size=200)
    data = [datagram for _, datagram, _ in world.seen if kind_of(datagram) == Kind.DATA]
    assert [len(each) for each in data] == [200 + AROUND] * 4
    assert AROUND == 28
