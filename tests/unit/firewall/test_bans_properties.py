"""What holds of the judge whatever comes."""

from __future__ import annotations

import ipaddress
import random
import sys
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.firewall.bans import keys
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.model import Action, Attempt, Outcome, Service, Sign
from appliance.firewall.bans.policy import Networks
from appliance.firewall.bans.rules import Rules
from appliance.firewall.bans.sets import Doors, changed, filled, set_of
from appliance.firewall.bans.sources import Recent
from tests.unit.firewall.attempts import DAY, HOUR, MINUTE, attempt, ban_of, policy, scan

POLICY = policy(
    protected="203.0.113.64/27 198.51.100.9 2001:db8:1:5::1 2001:db8:2::/48",
    inside="10.0.0.0/29 203.0.113.192/29 2001:db8:3::/64",
    black="198.51.100.0/28 2001:db8:2:1::/64",
)
ADDRESSES = [
    *(f"203.0.113.{n}" for n in (1, 2, 3, 4, 63, 64, 70, 95, 96, 192, 193, 199, 200)),
    *(f"198.51.100.{n}" for n in (1, 9, 15, 16, 17, 18)),
    *(f"10.0.0.{n}" for n in (1, 2, 7, 8)),
    *(f"2001:db8:1:{n}::{m}" for n in (1, 2, 3, 5) for m in (1, 2)),
    *("2001:db8:2:1::1", "2001:db8:3::1", "2001:db8:3::2", "127.0.0.1", "fe80::1", "::ffff:203.0.113.64"),
]

attempts = st.builds(
    Attempt,
    when=st.integers(0, 20) | st.integers(0, 3 * HOUR) | st.integers(0, 90 * DAY),
    wall=st.integers(-(10**14), 10**14),
    source=st.sampled_from(ADDRESSES).map(ipaddress.ip_address),
    service=st.sampled_from(Service),
    outcome=st.sampled_from([*Outcome, Outcome.FAILED, Outcome.FAILED]),
    account=st.sampled_from([*(str(n) for n in range(12)), ""]) | st.text(max_size=5),
    detail=st.text(max_size=20),
    proven=st.booleans(),
    signs=st.sampled_from(
        [Sign.NONE, Sign.NONE, Sign.UNKNOWN_ACCOUNT, Sign.FOREIGN_METHOD, Sign.ATTACK_TOOL, ~Sign.NONE]
    ),
)
bursts = st.builds(scan, st.integers(0, 2 * DAY), st.sampled_from(ADDRESSES), st.integers(1, 30), proven=st.booleans())
batches = st.lists(st.lists(attempts, max_size=12) | bursts, max_size=14)


@settings(max_examples=150, deadline=None)
@given(batches)
def test_protected_networks_are_never_touched(given: list[list[Attempt]]) -> None:
    judge = Judge(POLICY)
    for batch in given:
        for decision in judge.take(batch):
            ban = decision.ban
            if decision.action is Action.SPARE:
                continue
            assert not POLICY.never.overlap(ban.network)
            if ban.quarantine:
                assert ban.network.num_addresses == 1
                assert ban.network.network_address in POLICY.ours
            else:
                assert not POLICY.ours.overlap(ban.network)
            assert ban.since < ban.until <= ban.since + 7 * DAY or decision.action is Action.LIFT
            assert len(ban.evidence) <= 8
            set_of(ban)
            assert keys.network(keys.of(ban.network)) == ban.network
    wanted = judge.wanted(judge.now)
    assert not any(POLICY.never.overlap(network) or POLICY.ours.overlap(network) for network in POLICY.shut.all)
    assert len({ban.network for ban in wanted.bans}) == len(wanted.bans)
    assert filled(wanted, Doors()).count("ms") == sum(ban.until > wanted.now for ban in wanted.bans)


@settings(max_examples=100, deadline=None)
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_what_is_told_at_once_makes_no_difference(
    given: list[list[Attempt]], chance: random.Random
) -> None:
    one, other = Judge(POLICY), Judge(POLICY)
    for batch in given:
        mixed = list(batch)
        chance.shuffle(mixed)
        assert one.take(batch) == other.take(mixed)
    assert one.wanted(one.now) == other.wanted(other.now)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40 * DAY), min_size=2, max_size=8))
def test_bans_grow_until_they_are_forgotten(pauses: list[int]) -> None:
    judge, now, found = Judge(), 0, []
    for pause in pauses:
        ban = ban_of(judge, now)
        found.append(ban)
        now = ban.until + pause
    for pause, (before, after) in zip(pauses, pairwise(found), strict=False):
        if pause < 29 * DAY:
            assert after.until - after.since >= before.until - before.since
            assert after.strike == before.strike + 1
        elif pause > 30 * DAY:
            assert after.strike == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(attempts, max_size=60))
def test_who_only_succeeds_is_never_banned(given: list[Attempt]) -> None:
    right = [attempt(one.when, str(one.source), one.account, Outcome.SUCCEEDED) for one in given]
    assert Judge().take(right) == []


@settings(max_examples=60, deadline=None)
@given(
    batches,
    st.sampled_from(["203.0.113.0/24", "203.0.113.2/32", "10.0.0.1/32", "2001:db8:1:1::/64", "2001:db8::/32", "::/0"]),
)
def test_what_is_lifted_is_lifted(given: list[list[Attempt]], text: str) -> None:
    judge, network = Judge(POLICY), ipaddress.ip_network(text)
    for batch in given:
        judge.take(batch)
    lifted = judge.lift(network, judge.now)
    assert all(decision.action is Action.LIFT for decision in lifted)
    assert not any(ban.network.version == network.version and ban.network.overlaps(network) for ban in judge.standing)
    late = [one for batch in given for one in batch if one.source.version == network.version and one.source in network]
    assert judge.take(late) == []
    assert changed(lifted, judge.now).count("timeout") == len(lifted)


nets = st.builds(
    lambda number, length: ipaddress.ip_network((0xCB007100 + number, length), strict=False),
    st.integers(0, 511), st.integers(20, 32),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(nets, max_size=6), nets)
def test_networks_that_overlap(some: list[ipaddress.IPv4Network], other: ipaddress.IPv4Network) -> None:
    assert Networks(some).overlap(other) == any(one.overlaps(other) for one in some)
    assert (other.network_address in Networks(some)) == any(other.network_address in one for one in some)
    assert not Networks(some).overlap(ipaddress.ip_network("::/0"))


@settings(deadline=None)
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_numbers_tell_their_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for key in (keys.host(address), keys.stranger(address)):
        network = keys.network(key)
        assert address in network
        assert keys.of(network) == key
        assert keys.touch(key, network)
        assert keys.touch(key, ipaddress.ip_network((0, 0) if address.version == 4 else ("::", 0)))
        assert not keys.touch(key, ipaddress.ip_network("::/0" if address.version == 4 else "0.0.0.0/0"))
    wider = keys.wide(keys.stranger(address))
    assert wider is not None
    assert keys.stranger(address) in set(keys.members(wider))
    assert keys.network(keys.stranger(address)).subnet_of(keys.network(wider))  # type: ignore[arg-type]
    assert keys.wide(wider) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "pop", "get"]), st.integers(0, 30)), max_size=200), st.integers(2, 20)
)
def test_a_table_of_the_recent(orders: list[tuple[str, int]], most: int) -> None:
    table, latest, popped = Recent[int](most), list[int](), set[int]()
    for n, (order, key) in enumerate(orders):
        if order == "put":
            table.put(key, n)
            latest = [*(one for one in latest if one != key), key]
            popped.discard(key)
        elif order == "pop":
            table.pop(key)
            popped.add(key)
        assert len(table) <= most
        assert all(table.get(one) is not None for one in {*latest[-(most // 2) :]} - popped)
        assert all(table.get(one) is None for one in popped)


def size_of(thing: object, seen: set[int]) -> int:
    """Bytes of a thing with all it holds."""
    if id(thing) in seen or isinstance(thing, type | Rules):
        return 0
    seen.add(id(thing))
    held: list[object] = []
    if isinstance(thing, dict):
        held = [*thing, *thing.values()]
    elif isinstance(thing, list | tuple):
        held = list(thing)
    held += [getattr(thing, name) for one in type(thing).__mro__ for name in getattr(one, "__slots__", ())]
    held += list(getattr(thing, "__dict__", {}).values())
    return sys.getsizeof(thing) + sum(size_of(one, seen) for one in held)


def test_memory_is_bounded() -> None:
    """Many times as many sources as are remembered, proven or not, each trying eight accounts and saying a lot."""
    judge = Judge(rules=Rules(sources=200, evidence_sources=100))

    def flood(start: int, count: int) -> int:
        for n in range(start, start + count):
            address = ipaddress.IPv4Address(0x0B000000 + n * 7)
            judge.take(
                [Attempt(n, n, address, Service.SIP, Outcome.FAILED, str(k), "x" * 500, bool(n & 1)) for k in range(8)]
            )
        assert len(judge.sources) <= 200
        return size_of(judge, set())

    full = flood(0, 400)
    assert full > 200_000
    assert flood(400, 1600) < 1.1 * full


def test_time_that_goes_backwards_lifts_nothing_and_makes_nothing_eternal() -> None:
    judge = Judge()
    ban = ban_of(judge, DAY)
    assert judge.take(scan(0)) == []
    assert judge.wanted(0).bans == (ban,)
    assert judge.wanted(ban.until).bans == ()
    assert ban_of(judge, DAY + 10 * MINUTE).until <= DAY + 10 * MINUTE + 2 * HOUR
