"""Whoever can't sign gets nothing, moves nothing and is never a nuisance to somebody else; whoever repeats what he has seen neither."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.failover.relay import wire
from appliance.failover.relay.centre import Where
from appliance.failover.relay.edge import Edge
from appliance.failover.relay.wire import HELLO, Copying, Kind, Role, kind_of
from tests.unit.failover.relay_world import KEY, LOCAL, SITE, Line, World

VICTIM = Where(b"victim", LOCAL)


def pair() -> World:
    world = World({0: Line(), 1: Line(Role.BACKUP, delay=0.03)})
    world.run(4.0)
    world.talk(0.5)
    world.run(0.6)  # and nothing is on its way
    assert world.lost() == (0, 0)
    return world


@given(st.binary(max_size=1500))
@settings(max_examples=300)
def test_garbage_is_counted_and_nothing_else(datagram: bytes) -> None:
    world = pair_once()
    heard = world.centre.heard(datagram, VICTIM, world.now)
    assert heard == (None, b"", [])
    assert world.edge.heard(0, datagram, world.now) == (None, [])


@given(st.data())
@settings(max_examples=300)
def test_a_datagram_with_one_bit_changed_or_cut_off_is_garbage(data: st.DataObject) -> None:
    world = pair_once()
    _path, datagram, upward = data.draw(st.sampled_from(world.seen))
    if data.draw(st.booleans()):
        spoilt = datagram[: data.draw(st.integers(0, len(datagram) - 1))]
    else:
        bit = data.draw(st.integers(0, 8 * len(datagram) - 1))
        spoilt = bytearray(datagram)
        spoilt[bit // 8] ^= 1 << bit % 8
        spoilt = bytes(spoilt)
    if upward:
        assert world.centre.heard(spoilt, VICTIM, world.now) == (None, b"", [])
    else:
        assert world.edge.heard(0, spoilt, world.now) == (None, [])


_PAIR: list[World] = []


def pair_once() -> World:
    if not _PAIR:
        _PAIR.append(pair())
    return _PAIR[0]


def test_what_is_sent_back_to_its_sender_is_garbage() -> None:
    world = pair()
    for _path, datagram, upward in list(world.seen):
        if upward:
            assert world.edge.heard(0, datagram, world.now) == (None, [])
        else:
            assert world.centre.heard(datagram, VICTIM, world.now) == (None, b"", [])


def test_everything_repeated_from_elsewhere_moves_nothing_and_hands_on_nothing() -> None:
    world = pair()
    before = dict(world.centre.sessions[SITE].where)
    answered = 0
    for _path, datagram, upward in list(world.seen):
        if upward:
            heard = world.centre.heard(datagram, VICTIM, world.now)
            assert heard.site is None
            assert all(kind_of(each.datagram) == Kind.CHALLENGE for each in heard.sent)
            assert sum(len(each.datagram) for each in heard.sent) < len(datagram)
            answered += len(heard.sent)
    assert answered == 0  # hellos of a path that is bound are old ones
    assert world.centre.sessions[SITE].where == before
    world.talk(1.0)
    world.run(0.5)
    assert world.lost() == (0, 0)


def test_a_hello_that_somebody_brings_first_from_a_victims_address_costs_the_victim_less_than_it_costs_him() -> None:
    world = World({0: Line()})
    hello = world.edge.tick(world.now)[0].datagram
    heard = [world.centre.heard(hello, VICTIM, world.now) for _ in range(100)]
    assert all(sum(len(each.datagram) for each in one.sent) < HELLO / 2 for one in heard)
    assert not world.centre.sessions  # and nothing is kept of it
    world.deliver_up(hello, world.lines[0].address)
    world.run(0.3)
    assert world.edge.bound == {0}
    assert world.centre.sessions[SITE].where[0].address == world.lines[0].address


def test_a_packet_that_somebody_brings_first_is_handed_on_but_nothing_is_sent_to_him() -> None:
    world = pair()
    [(_, datagram, tos), *_] = world.edge.client(b"\x48" + b"x" * 99, 0xB8, world.now)
    heard = world.centre.heard(datagram, VICTIM, world.now)
    assert heard.payload == b"\x48" + b"x" * 99  # it is the edge's own, whoever carried it
    [asked] = heard.sent
    assert kind_of(asked.datagram) == Kind.CHALLENGE
    assert len(asked.datagram) < len(datagram)
    assert tos == 0xB8
    for _ in range(50):
        assert world.centre.heard(datagram, VICTIM, world.now).sent == []
    world.talk(1.0)
    assert not any(path == -1 for path, *_ in world.seen)


def test_cookies_are_good_for_their_address_and_their_time() -> None:
    world = World({0: Line(up=False)})
    hello = world.edge.tick(world.now)[0].datagram
    here, there = Where(b"here", LOCAL), Where(b"there", LOCAL)
    [challenge] = world.centre.heard(hello, here, world.now).sent
    answer = world.edge.heard(0, challenge.datagram, world.now)[1][0].datagram
    assert kind_of(world.centre.heard(answer, there, world.now).sent[0].datagram) == Kind.CHALLENGE
    assert kind_of(world.centre.heard(answer, here, world.now + 100).sent[0].datagram) == Kind.CHALLENGE
    assert kind_of(world.centre.heard(answer, here, world.now).sent[0].datagram) == Kind.WELCOME


def test_a_welcome_of_former_times_begins_no_session() -> None:
    world = World({0: Line()})
    world.run(1.0)
    welcomes = [datagram for _, datagram, upward in world.seen if not upward and kind_of(datagram) == Kind.WELCOME]
    assert welcomes
    generation = world.edge.generation
    world.centre.generations["bari"] = 5
    world.run(3.0)
    for welcome in welcomes:
        assert world.edge.heard(0, welcome, world.now) == (None, [])
    assert (generation, world.edge.generation) == (0, 5)
    world.talk(1.0)
    world.run(0.5)
    assert world.lost() == (0, 0)


def test_an_edge_of_former_times_is_refused() -> None:
    world = pair()
    world.edge = world.new_edge(7)
    world.run(1.0)
    assert world.centre.sessions[SITE].epoch == 7
    old = Edge(KEY, 6, {0: Role.PRIMARY}, Copying.ALWAYS).tick(world.now)[0].datagram
    refused = world.centre.refused
    assert world.centre.heard(old, Where(world.lines[0].address, LOCAL), world.now).sent == []
    assert world.centre.refused == refused + 1


def test_another_sites_key_opens_nothing_of_ours() -> None:
    world = pair()
    other = bytes(reversed(KEY))
    world.centre.let_in({KEY: SITE, other: "lecce"})
    stranger = Edge(other, 99, {0: Role.PRIMARY}, Copying.ALWAYS)
    hello = stranger.tick(world.now)[0].datagram
    [challenge] = world.centre.heard(hello, VICTIM, world.now).sent
    answer = stranger.heard(0, challenge.datagram, world.now)[1][0].datagram
    assert kind_of(world.centre.heard(answer, VICTIM, world.now).sent[0].datagram) == Kind.WELCOME
    assert set(world.centre.sessions) == {SITE, "lecce"}
    assert world.centre.sessions[SITE].where[0].address == world.lines[0].address


@given(
    st.integers(0, wire.PATHS - 1), st.sampled_from(Role), st.sampled_from(Copying), st.booleans(),
    st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16),
)  # fmt: skip
def test_a_hello_comes_out_as_it_went_in(
    path: int, role: Role, copying: Copying, capped: bool, name: bytes, epoch: int, counter: int, cookie: bytes
) -> None:
    hello = wire.Hello(path, role, copying, capped, name, epoch, counter, cookie)
    datagram = hello.signed(KEY)
    assert len(datagram) == HELLO
    assert wire.hello(datagram, KEY) == hello
    assert wire.hello_name(datagram) == name


@given(st.binary(max_size=400))
def test_a_report_of_garbage_is_garbage(content: bytes) -> None:
    try:
        report = wire.report(content)
    except wire.MalformedError:
        return
    assert report is None or report.packed()[2:] == content[2:]
