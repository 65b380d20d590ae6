"""Who is banned, who isn't, for how long."""

from __future__ import annotations

import ipaddress

import pytest

from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.model import Action, Attempt, Outcome, Reason, Service, Sign
from appliance.firewall.bans.rules import Rules
from tests.unit.firewall.attempts import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    STRANGER,
    WALL,
    attempt,
    ban_of,
    bans,
    hit,
    networks,
    policy,
    scan,
    success,
    tool,
)


def test_who_mistypes_five_times_is_not_banned() -> None:
    judge = Judge()
    for service in (Service.SIP, Service.PORTAL, Service.API):
        assert judge.take([attempt(n * SECOND, service=service) for n in range(5)]) == []


def test_who_tries_one_password_on_each_of_many_extensions_is_banned_at_the_tenth() -> None:
    judge = Judge()
    assert judge.take(scan(0, accounts=9)) == []
    [decision] = judge.take([attempt(SECOND, account="309")])
    ban = decision.ban
    assert decision.action is Action.BAN
    assert ban.network == ipaddress.ip_network(STRANGER)
    assert (ban.reason, ban.strike, ban.attempts) == (Reason.MANY_ACCOUNTS, 1, 10)
    assert (ban.since, ban.until, ban.wall) == (SECOND, SECOND + 10 * MINUTE, WALL + SECOND)
    assert [seen.account for seen in ban.evidence] == [str(300 + n) for n in range(2, 10)]
    assert not ban.brief
    assert not ban.quarantine


def test_a_slow_scanner_is_banned_too() -> None:
    judge = Judge()
    assert hit(judge.take([attempt(n * 20 * MINUTE, account=str(n)) for n in range(15)])) == [f"{STRANGER}/32"]


def test_guessing_at_one_account_is_banned_but_a_phone_with_a_wrong_password_is_not() -> None:
    judge = Judge()
    [ban] = bans(judge.take([attempt(n * 100) for n in range(40)]))
    assert ban.reason is Reason.GUESSING
    assert judge.take([attempt(n * 32 * SECOND, "203.0.113.8") for n in range(3000)]) == []


def test_unknown_accounts_and_foreign_methods_weigh_more() -> None:
    unknown = {"signs": Sign.UNKNOWN_ACCOUNT}
    assert hit(Judge().take(scan(0, accounts=5, **unknown))) == [f"{STRANGER}/32"]
    assert Judge().take(scan(0, accounts=4, **unknown)) == []
    [ban] = bans(Judge().take([attempt(n, account="", signs=Sign.FOREIGN_METHOD) for n in range(4)]))
    assert ban.reason is Reason.FOREIGN_METHODS


def test_a_tool_for_attacks_is_banned_at_the_first_packet() -> None:
    [ban] = bans(Judge().take([tool(5, STRANGER)]))
    assert (ban.reason, ban.brief, ban.until) == (Reason.ATTACK_TOOL, True, 5 + 2 * MINUTE)
    assert [seen.account for seen in ban.evidence] == ["udp/5060"]


def test_dropped_packets_count_by_port() -> None:
    def dropped(count: int, ports: int) -> list[Attempt]:
        dropped = {"outcome": Outcome.DROPPED, "service": Service.DROPPED, "proven": False}
        return [attempt(n * 100, account=f"tcp/{n % ports}", **dropped) for n in range(count)]

    assert Judge().take(dropped(60, 1)) == []  # a phone that is led astray
    [ban] = bans(Judge().take(dropped(10, 10)))
    assert (ban.reason, ban.brief) == (Reason.PROBING, True)


def test_success_forgives_its_own_typos() -> None:
    judge = Judge()
    for n in range(20):
        assert judge.take([attempt(n * MINUTE + k, account="201") for k in range(20)]) == []
        judge.take([success(n * MINUTE + 100)])
        assert sum(judge.sources.get(int(ipaddress.ip_address(STRANGER))).points()) == 0  # type: ignore[union-attr]


def test_success_with_ones_own_account_forgives_no_guesses_at_others() -> None:
    judge = Judge()
    found = []
    for n in range(12):
        found += judge.take([attempt(n * 100, account=str(300 + n)), success(n * 100 + 1, account="999")])
    assert hit(found) == [f"{STRANGER}/32"]


def test_success_protects_for_a_minute() -> None:
    judge = Judge()
    judge.take([success(0, account="999")])
    guesses = [attempt(SECOND + n, account="201") for n in range(40)]
    assert judge.take(guesses) == []
    assert judge.take([attempt(50 * SECOND)]) == []
    assert hit(judge.take([attempt(62 * SECOND)])) == [f"{STRANGER}/32"]


def test_success_protects_nobody_who_guesses_for_long() -> None:
    judge = Judge()
    judge.take([success(0, account="999")])
    assert hit(judge.take([attempt(SECOND + n, account="201") for n in range(120)])) == [f"{STRANGER}/32"]


def test_an_office_behind_one_address_is_not_banned() -> None:
    judge = Judge()
    for n in range(200):
        person = f"person-{n}"
        at = n * 20 * SECOND
        assert (
            judge.take([attempt(at, account=person), attempt(at + 1, account=person), success(at + 2, account=person)])
            == []
        )


def test_bans_grow() -> None:
    judge, now, lasted = Judge(), 0, []
    for _ in range(7):
        ban = ban_of(judge, now)
        lasted.append(ban.until - ban.since)
        now = ban.until + MINUTE
    assert lasted == [10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 7 * DAY, 7 * DAY]


def test_strikes_are_forgotten_after_a_month() -> None:
    judge = Judge()
    first = ban_of(judge, 0)
    second = ban_of(judge, first.until + 29 * DAY)
    third = ban_of(judge, second.until + 31 * DAY)
    assert [ban.strike for ban in (first, second, third)] == [1, 2, 1]


def test_what_is_banned_is_not_judged_again() -> None:
    judge = Judge()
    ban = ban_of(judge, 0)
    assert judge.take(scan(2 * SECOND, accounts=100)) == []
    assert ban_of(judge, ban.until).strike == 2


def test_what_is_not_proven_bans_briefly_and_leaves_no_strikes() -> None:
    judge, now, lasted = Judge(), 0, []
    for _ in range(7):
        [ban] = bans(judge.take(scan(now, proven=False)))
        assert ban.brief
        lasted.append(ban.until - ban.since)
        now = ban.until + MINUTE
    assert lasted == [n * MINUTE for n in (2, 5, 10, 30, 60, 60, 60)]
    ban = ban_of(judge, now)
    assert (ban.brief, ban.strike) == (False, 1)


def test_whoever_authenticated_well_today_is_banned_by_unproven_packets_for_the_shortest_time_only() -> None:
    judge, now, lasted = Judge(), 2 * MINUTE, []
    judge.take([success(0)])
    for _ in range(4):
        [ban] = bans(judge.take([tool(now, STRANGER)]))
        lasted.append(ban.until - ban.since)
        now = ban.until + MINUTE
    assert lasted == [2 * MINUTE] * 4


def test_nobody_buys_brief_bans_by_nonsense_in_his_own_name() -> None:
    """Whoever hides two real attempts an hour in nonsense that anybody may have sent is banned for good by and by."""
    judge, now, found = Judge(), 0, []
    for n in range(14):
        real = [attempt(now, account=f"{n}-{k}") for k in (1, 2)]
        found = bans(judge.take([*real, *[attempt(now + 1 + k, proven=False) for k in range(40)]]))
        assert found
        now = found[0].until + SECOND
        if not found[0].brief:
            break
    assert not found[0].brief


def test_nobody_adds_to_what_another_has_certainly_done() -> None:
    judge = Judge()
    judge.take([attempt(0)])  # a typo of somebody's own
    [ban] = bans(judge.take([attempt(SECOND + n, proven=False) for n in range(40)]))
    assert ban.brief


def test_what_a_source_tried_takes_little_room_and_keeps_its_points() -> None:
    judge = Judge(rules=Rules(limit=10_000))
    judge.take(scan(0, accounts=200))
    source = judge.sources.get(int(ipaddress.ip_address(STRANGER)))
    assert source is not None
    assert len(source.tried) <= 256
    assert 2190 < source.points()[0] <= 2200


def test_a_flood_of_invented_senders_makes_nobody_forgotten() -> None:
    judge = Judge(rules=Rules(sources=200))
    judge.take(scan(0, accounts=9))
    flood = [attempt(SECOND, str(ipaddress.IPv4Address(0x0B000000 + n)), proven=False) for n in range(5000)]
    assert judge.take(flood) == []
    assert hit(judge.take([attempt(2 * SECOND, account="309")])) == [f"{STRANGER}/32"]


def test_invented_senders_fill_their_own_room_only() -> None:
    judge = Judge(rules=Rules(brief_bans=50))
    judge.take([tool(n, str(ipaddress.IPv4Address(0x0B000000 + n))) for n in range(200)])
    assert (len(judge.standing), judge.unheard) == (50, 150)
    assert ban_of(judge, SECOND).network in networks(f"{STRANGER}/32")
    judge.take([tool(3 * MINUTE, "198.51.100.9")])
    assert hit(judge.wanted(3 * MINUTE).bans and judge.take([tool(3 * MINUTE, "198.51.100.10")])) == [
        "198.51.100.10/32"
    ]


def test_the_ban_that_ends_first_makes_room() -> None:
    judge = Judge(rules=Rules(bans=3))
    for n in range(3):
        ban_of(judge, n * SECOND, f"198.51.{n}.1")
    decisions = judge.take(scan(5 * SECOND))
    assert [(d.action, str(d.ban.network)) for d in decisions] == [
        (Action.LIFT, "198.51.0.1/32"),
        (Action.BAN, f"{STRANGER}/32"),
    ]
    assert len(judge.standing) == 3


def test_an_attack_that_moves_about_has_its_whole_network_banned() -> None:
    judge = Judge()
    for n in (1, 2):
        assert hit(judge.take(scan(n * MINUTE, f"203.0.113.{n}"))) == [f"203.0.113.{n}/32"]
    found = bans(judge.take(scan(3 * MINUTE, "203.0.113.99")))
    assert [str(ban.network) for ban in found] == ["203.0.113.99/32", "203.0.113.0/24"]
    whole = found[1]
    assert (whole.reason, whole.attempts, len(whole.evidence)) == (Reason.MOVING, 30, 8)
    assert judge.take(scan(4 * MINUTE, "203.0.113.200")) == []  # it can't get here any more


def test_an_attack_that_moves_about_in_ipv6() -> None:
    judge, found = Judge(), []
    for n in range(3):
        found += judge.take(scan(n * MINUTE, f"2001:db8:1:{n:x}::{n + 1}"))
    assert hit(found) == ["2001:db8:1::/64", "2001:db8:1:1::/64", "2001:db8:1:2::/64", "2001:db8:1::/56"]


def test_ipv6_counts_by_64() -> None:
    judge = Judge()
    [ban] = bans(judge.take([attempt(n, f"2001:db8::{n + 1:x}", account=str(n)) for n in range(10)]))
    assert str(ban.network) == "2001:db8::/64"
    assert {seen.address for seen in ban.evidence} == {f"2001:db8::{n:x}" for n in range(3, 11)}


def test_bans_of_long_ago_make_nothing_wider() -> None:
    judge, found = Judge(), []
    for n in (1, 2, 3, 4):
        found += judge.take(scan(n * 13 * HOUR, f"203.0.113.{n}"))
    assert hit(found) == [f"203.0.113.{n}/32" for n in (1, 2, 3, 4)]


def test_nothing_gets_wider_where_somebody_authenticated_well_lately() -> None:
    judge, found = Judge(), []
    judge.take([success(0, "203.0.113.200")])
    for n in (1, 2, 3, 4):
        found += judge.take(scan(DAY + n * MINUTE, f"203.0.113.{n}"))
    assert hit(found) == [f"203.0.113.{n}/32" for n in (1, 2, 3, 4)]


def test_unproven_attempts_make_nothing_wider() -> None:
    judge, found = Judge(), []
    for n in range(1, 100):
        found += judge.take([tool(n, f"203.0.113.{n}")])
    assert len(found) == 99
    assert {ban.network.prefixlen for ban in bans(found)} == {32}


def test_a_thief_with_one_good_password_is_nobody_of_ours() -> None:
    judge, found = Judge(), []
    found += judge.take([*scan(0, "203.0.113.1", accounts=9), success(SECOND, "203.0.113.1", "999")])
    found += judge.take([attempt(2 * SECOND, "203.0.113.1", "400")])
    for n in (2, 3):
        found += judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    assert hit(found)[-1] == "203.0.113.0/24"


def test_unproven_attempts_bring_no_wide_ban_back() -> None:
    judge = Judge()
    for n in (1, 2, 3):
        judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    assert hit(judge.take([tool(HOUR, "203.0.113.50")])) == ["203.0.113.50/32"]
    assert hit(judge.take(scan(2 * HOUR, "203.0.113.51"))) == ["203.0.113.51/32", "203.0.113.0/24"]


def test_what_is_told_at_once_in_any_order_is_judged_alike() -> None:
    one, other = Judge(), Judge()
    given = [
        *(attempt(0, account=str(300 + n)) for n in range(9)),
        success(0, account="300"),
        attempt(0, account="400"),
    ]
    assert hit(one.take(given)) == [f"{STRANGER}/32"]
    other.take(reversed(given))
    assert one.wanted(0) == other.wanted(0)


def test_protected_networks_are_spared_and_told_of_now_and_then() -> None:
    judge = Judge(policy(protected="203.0.113.0/28"))
    [spared] = judge.take(scan(0))
    assert spared.action is Action.SPARE
    assert spared.ban.reason is Reason.MANY_ACCOUNTS
    assert judge.take(scan(MINUTE, accounts=50)) == []
    assert hit(judge.take(scan(2 * HOUR)), Action.SPARE) == [f"{STRANGER}/32"]
    assert len(judge.standing) == 0


def test_a_prefix_that_overlaps_a_protected_network_is_never_banned() -> None:
    judge, found = Judge(policy(protected="203.0.113.250 2001:db8:1::99")), []
    for n in (1, 2, 3, 4):
        found += judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    assert hit(found) == [f"203.0.113.{n}/32" for n in (1, 2, 3, 4)]
    assert hit(judge.take(scan(HOUR, "2001:db8:1::66")), Action.SPARE) == ["2001:db8:1::/64"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "fe80::1", "169.254.1.1", "0.0.0.1", "255.255.255.255", "ff02::1"]
)
def test_this_machine_and_its_links_are_never_banned(address: str) -> None:
    judge = Judge()
    assert {d.action for d in judge.take(scan(0, address, accounts=30))} == {Action.SPARE}


@pytest.mark.parametrize(("inside", "host"), [("10.1.0.0/16", "10.1.2.3/32"), ("2001:db8:7::/48", "2001:db8:7::5/128")])
def test_a_host_of_ours_is_quarantined_alone(inside: str, host: str) -> None:
    judge, found = Judge(policy(inside=inside)), []
    address = ipaddress.ip_network(host).network_address
    for n in range(5):
        found += judge.take(scan(n * MINUTE, str(address + n)))
    assert hit(found, Action.QUARANTINE) == [f"{address + n}/{address.max_prefixlen}" for n in range(5)]
    assert all(decision.ban.quarantine for decision in found)
    assert hit(found) == []


def test_a_prefix_that_overlaps_a_network_of_ours_is_never_banned() -> None:
    judge, found = Judge(policy(inside="203.0.113.128/25 2001:db8:1:0:8000::/65")), []
    for n in (1, 2, 3, 4):
        found += judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    assert hit(found) == [f"203.0.113.{n}/32" for n in (1, 2, 3, 4)]
    assert hit(judge.take(scan(HOUR, "2001:db8:1::66")), Action.SPARE) == ["2001:db8:1::/64"]


def test_what_is_protected_inside_is_not_quarantined() -> None:
    judge = Judge(policy(protected="10.1.2.0/24", inside="10.1.0.0/16"))
    assert hit(judge.take(scan(0, "10.1.2.3")), Action.SPARE) == ["10.1.2.3/32"]


def test_the_black_list_is_not_judged_but_for_what_is_protected_or_ours() -> None:
    """The rules of the document keep it out; what still comes from there was on its way."""
    rules = policy(
        protected="198.51.100.0/25", inside="198.51.100.128/26", black="198.51.100.0/24 203.0.113.7 2001:db8::/32"
    )
    assert sorted(map(str, rules.shut.all)) == ["198.51.100.192/26", "2001:db8::/32", "203.0.113.7/32"]
    judge = Judge(rules)
    assert judge.take([*scan(0), *scan(0, "198.51.100.200"), *scan(0, "2001:db8::1")]) == []
    assert hit(judge.take(scan(0, "198.51.100.130")), Action.QUARANTINE) == ["198.51.100.130/32"]
    assert hit(judge.take(scan(0, "198.51.100.1")), Action.SPARE) == ["198.51.100.1/32"]


def test_lifting_forgives() -> None:
    judge = Judge()
    first = ban_of(judge, 0)
    lifted = judge.lift(first.network, MINUTE)
    assert hit(lifted, Action.LIFT) == [f"{STRANGER}/32"]
    assert judge.take(scan(30 * SECOND, accounts=50)) == []  # what was on its way
    assert judge.take(scan(2 * MINUTE, accounts=9)) == []
    assert hit(judge.take([attempt(3 * MINUTE, account="400")])) == [f"{STRANGER}/32"]
    assert judge.wanted(3 * MINUTE).bans[0].strike == 1


def test_lifting_one_address_lifts_the_ban_around_it_and_no_neighbour_brings_it_back() -> None:
    judge = Judge()
    for n in (1, 2, 3):
        judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    lifted = judge.lift(ipaddress.ip_network("203.0.113.50"), 5 * MINUTE)
    assert hit(lifted, Action.LIFT) == ["203.0.113.0/24"]
    assert len(judge.standing) == 3
    assert hit(judge.take(scan(6 * MINUTE, "203.0.113.4"))) == ["203.0.113.4/32"]


def test_lifting_a_network_lifts_all_in_it() -> None:
    judge = Judge()
    for n in (1, 2, 3):
        judge.take(scan(n * MINUTE, f"203.0.113.{n}"))
    lifted = judge.lift(ipaddress.ip_network("203.0.113.0/24"), 5 * MINUTE)
    assert sorted(hit(lifted, Action.LIFT)) == ["203.0.113.0/24", *(f"203.0.113.{n}/32" for n in (1, 2, 3))]
    assert len(judge.standing) == 0
    assert ban_of(judge, 6 * MINUTE, "203.0.113.2").strike == 1


def test_a_new_policy_lifts_what_it_does_not_allow() -> None:
    judge = Judge(policy(inside="10.0.0.0/8"))
    for source in (STRANGER, "198.51.100.1", "10.0.0.9"):
        judge.take(scan(0, source))
    assert hit(judge.adopt(policy(protected="203.0.113.0/24", inside="10.0.0.0/16")), Action.LIFT) == [f"{STRANGER}/32"]
    assert hit(judge.adopt(policy(protected="203.0.113.0/24")), Action.LIFT) == ["10.0.0.9/32"]
    assert [str(ban.network) for ban in judge.standing] == ["198.51.100.1/32"]


def test_what_strangers_write_is_cleaned() -> None:
    one = attempt(0, account="20\u202e1\n\x00" + "x" * 500, detail="a\r\nb\ud800" * 100)
    assert one.account.startswith("20 1 xxx")
    assert (len(one.account), len(one.detail)) == (80, 160)
    assert one.detail.startswith("a b a b")
    assert attempt(0, "::ffff:203.0.113.7").source == ipaddress.ip_address(STRANGER)
    Judge().take([one, attempt(1, account="\udc80")])
