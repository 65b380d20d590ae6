"""Trunks at another site, behind a thin link: its codecs and its number of calls hold for them too, but for emergencies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from appliance.engine.ami import AmiError
from tests.hil.agents.network import Network
from tests.hil.agents.process import AgentError, eventually
from tests.hil.outside_world import MAIN, Exchange, Line, Phone, rows

OUTSIDE = "00200000999"
LINK = {"links": [{"to": "hq", "codec_policy": "thin", "max_calls": 1}]}
Bed = tuple[Exchange, Line, Line, Phone]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Trunk ``a`` stands at the branch, ``b`` anywhere; the phone is at the head office."""
    thin = ("codec_policy", {"id": "thin", "name": "Thin", "codecs": ["alaw"]})
    world = [
        (kind, {**data, **(LINK if (kind, data["id"]) == ("site", "branch") else {})})
        for kind, data in rows(trunks={"a": {"site": "branch"}}, more=[thin])
    ]
    with (
        Network() as net,
        Exchange(net, tmp_path_factory.mktemp("links"), world) as exchange,
        exchange.line("a") as a,
        exchange.line("b") as b,
        exchange.phone() as phone,
    ):
        phone.register()
        yield exchange, a, b, phone
        assert not exchange.log()


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    exchange, a, b, phone = bed
    for peer in (a, b, phone):
        peer.received.clear()
    for line in (a, b):
        line.times.clear()
        line.dialogs.clear()
    yield
    with exchange.ami() as ami:
        for channel in exchange.channels():
            with contextlib.suppress(AmiError):  # the other leg takes it along
                ami.hangup(channel)
    eventually(lambda: not exchange.channels(), "no channel is left over")


def test_calls_over_a_trunk_behind_the_link(bed: Bed) -> None:
    _, a, b, phone = bed
    assert phone.dial(OUTSIDE).code == 200
    assert b"PCMA" in a.first.body
    assert b"PCMU" not in a.first.body
    assert phone.dial(OUTSIDE).code == 200  # the link is full: the next trunk
    assert len(a.invites) == 1
    assert b"PCMU" in b.first.body


def test_emergency_calls_take_no_notice_of_it(bed: Bed) -> None:
    _, a, _, phone = bed
    assert phone.dial(OUTSIDE).code == 200
    assert phone.dial("112").code == 200
    assert [invite.uri.user for invite in a.invites][-1] == "112"
    assert b"PCMU" in a.invites[-1].body


def test_a_call_that_the_trunk_refused_leaves_the_link(bed: Bed) -> None:
    _, a, b, phone = bed
    a.does((0, "503 Service Unavailable"))
    assert phone.dial(OUTSIDE).code == 200
    assert b"PCMU" in b.first.body
    a.does((0, "180 Ringing"), (0.1, "200 OK"))
    assert phone.dial(OUTSIDE).code == 200
    assert len(a.invites) == 2


def test_calls_from_a_trunk_behind_the_link(bed: Bed) -> None:
    _, a, _, phone = bed
    a.call(MAIN, caller="+390200000777", to="198.51.100.10")
    invite = phone.invites_so_far()[0]
    assert b"PCMA" in invite.body
    assert b"PCMU" not in invite.body
    with pytest.raises(AgentError, match="503"):
        a.call(MAIN, caller="+390200000777", to="198.51.100.10")
