"""Trunks that go away and come back: known outages, registrations, and lines that run short."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from appliance.engine.ami import AmiError
from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.outside_world import MAIN, PASSWORD, Exchange, Line, Phone, rows

OUTSIDE = "00200000999"
Bed = tuple[Exchange, Line, Line, Phone, Phone]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    register = {"type": "register", "username": "account", "secret": "trunk", "expires_seconds": 60}
    world = rows(
        trunks={
            "a": {"max_calls": 1},
            "b": {"auth": register, "max_calls": None},
        },
        provider={"probe": True},
        more=[("secret", {"id": "trunk"})],
    )
    with (
        Network() as net,
        Exchange(net, tmp_path_factory.mktemp("outages"), world) as exchange,
        exchange.line("a") as a,
        exchange.phone() as phone,
        exchange.phone("301-1") as branch,
        exchange.line("b", accounts={"account": PASSWORD}) as b,
    ):
        yield exchange, a, b, phone, branch


def status(exchange: Exchange, trunk: str) -> str:
    """What the engine thinks of a trunk: ``Avail``, ``Unavail``, or that it doesn't know yet."""
    with exchange.ami() as ami:
        text = ami.command(f"pjsip show aor trunk-{trunk}")
    return next(line for line in text.splitlines() if f"trunk-{trunk}/sip:" in line).split()[3]


def probe(exchange: Exchange, trunk: str) -> None:
    """Don't wait for the next probe."""
    with exchange.ami() as ami:
        ami.command(f"pjsip qualify trunk-{trunk}")


def end(exchange: Exchange, *phones: Phone) -> None:
    for phone in phones:
        while phone.dialogs:
            phone.hangup(phone.dialogs.pop())
    eventually(lambda: not exchange.channels(), "no channel is left over")


def test_a_provider_that_isnt_there_yet_is_registered_with_once_it_is(bed: Bed) -> None:
    _, _, b, _, _ = bed  # the engine was started before it: the first attempts went nowhere
    eventually(lambda: b.contacts.get("account"), "registration after the outage", 60)


def test_callers_at_the_same_instant_never_share_a_last_line(bed: Bed) -> None:
    exchange, a, b, _, _ = bed
    call = {"Channel": "Local/+390200000999@route.hq/n", "Application": "Wait", "Data": "60", "Async": "true"}
    for _ in range(5):
        a.received.clear()
        b.received.clear()
        with exchange.ami() as ami:
            list(ami.pipeline([("Originate", call)] * 10))
            eventually(lambda: len(a.invites) + len(b.invites) == 10, "all calls arrived somewhere")
            assert len(a.invites) <= 1
            for channel in exchange.channels():
                with contextlib.suppress(AmiError):  # the other leg takes it along
                    ami.hangup(channel)
        end(exchange)


def test_an_outage_that_is_known_costs_no_time(bed: Bed) -> None:
    exchange, a, b, phone, _ = bed
    a.there = False
    a.does()
    probe(exchange, "a")
    eventually(lambda: status(exchange, "a") == "Unavail", "the outage is noticed", 20)
    a.received.clear()
    b.received.clear()
    assert phone.dial(OUTSIDE).code == 200
    assert not a.invites
    assert b.invites
    end(exchange, phone)


def test_an_emergency_call_tries_a_trunk_that_is_thought_to_be_away(bed: Bed) -> None:
    exchange, a, b, phone, _ = bed
    a.does((0, "200 OK"))
    a.received.clear()
    b.received.clear()
    assert phone.dial("112").code == 200
    assert a.first.uri.user == "112"
    assert not b.invites
    assert a.first.from_address.uri.user == MAIN
    end(exchange, phone)


def test_a_trunk_that_comes_back_is_used_again(bed: Bed) -> None:
    exchange, a, _, phone, _ = bed
    a.there = True
    probe(exchange, "a")
    eventually(lambda: status(exchange, "a") == "Avail", "the end of the outage is noticed", 20)
    a.received.clear()
    assert phone.dial(OUTSIDE).code == 200
    assert a.invites
    end(exchange, phone)


def test_nothing_was_logged_that_nobody_expects(bed: Bed) -> None:
    # That a provider doesn't answer is to be told; that two calls wanted one line, the engine says by itself.
    told = ("No response received from", "Abnormal 'Gosub(leg.a")
    assert [line for line in bed[0].log() if not any(text in line for text in told)] == []
