"""Calls over trunks: when the next one is tried, and what the provider gets to see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.outside_world import MAIN, Exchange, Line, Phone, rows

OUTSIDE = "00200000999"
ANSWER = ((0, "180 Ringing"), (0.1, "200 OK"))

ROUTES: list[tuple[str, dict[str, object]]] = [
    ("trunk_group", {"id": "both", "name": "Both", "trunks": ["b", "a"]}),
    ("outbound_route", {"id": "rome", "name": "Rome", "order": 2, "prefixes": ["+3906"], "trunks": ["both"]}),
    ("outbound_route", {"id": "rome-from-the-branch", "name": "Rome from the branch", "order": 1, "prefixes": ["+3906"], "sites": ["branch"], "trunks": ["a"]}),
]  # fmt: skip
ROME = "00600000001"


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exchange, Line, Line, Phone]]:
    with (
        Network() as net,
        Exchange(net, tmp_path_factory.mktemp("trunks"), rows(trunks={"a": {"max_calls": 2}}, more=ROUTES)) as exchange,
        exchange.line("a") as a,
        exchange.line("b") as b,
        exchange.phone() as phone,
    ):
        yield exchange, a, b, phone


@pytest.fixture(autouse=True)
def quiet(bed: tuple[Exchange, Line, Line, Phone]) -> Iterator[None]:
    exchange, a, b, phone = bed
    for line in (a, b):
        line.does(*ANSWER)
        line.received.clear()
        line.times.clear()
    yield
    while phone.dialogs:
        phone.hangup(phone.dialogs.pop())
    eventually(lambda: not exchange.channels(), "no channel is left over")


@pytest.mark.parametrize(
    "status",
    [
        "500 Server Error",
        "503 Service Unavailable",
        "403 Forbidden",
        "408 Timeout",
        "488 Not Acceptable Here",
        "302 Moved",
    ],
)
def test_a_trunk_that_refuses_for_its_own_reasons_is_left_at_once(
    bed: tuple[Exchange, Line, Line, Phone], status: str
) -> None:
    _, a, b, phone = bed
    a.does((0, status))
    assert phone.dial(OUTSIDE).code == 200
    assert b.at - a.at < 1
    assert b.first.uri.user == "+390200000999"


def test_a_groups_trunks_are_taken_in_its_order(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    _, a, b, phone = bed
    assert phone.dial(ROME).code == 200
    assert b.first.uri.user == "+390600000001"
    assert not a.invites
    b.does((0, "503 Service Unavailable"))
    assert phone.dial(ROME).code == 200
    assert a.first.uri.user == "+390600000001"


def test_the_callers_site_says_which_route_is_taken(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    exchange, a, b, _ = bed
    with exchange.phone("301-1") as branch:
        assert branch.dial(ROME).code == 200
        assert a.first.uri.user == "+390600000001"
        assert not b.invites
        branch.hangup(branch.dialogs.pop())


def test_a_silent_trunk_is_left_within_four_seconds(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    _, a, b, phone = bed
    a.does()
    assert phone.dial(OUTSIDE).code == 200
    assert 3 < b.at - a.at < 4


def test_a_trunk_whose_cable_is_out_is_left(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    exchange, a, b, phone = bed
    with exchange.net.hosts["line-a"].unplugged():
        assert phone.dial(OUTSIDE).code == 200
    assert not a.invites
    assert b.invites


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("486 Busy Here", 486),
        ("404 Not Found", 404),
        ("480 Unavailable", 480),
        ("603 Decline", 603),
        ("484 Incomplete", 484),
    ],
)
def test_what_the_called_party_says_ends_the_call(
    bed: tuple[Exchange, Line, Line, Phone], status: str, code: int
) -> None:
    _, a, b, phone = bed
    a.does((0, status))
    assert phone.dial(OUTSIDE).code in {code, {603: 403}.get(code, code)}
    assert a.invites
    assert not b.invites


@pytest.mark.parametrize(
    "script",
    [
        ((0, "100 Trying"), (6, "200 OK")),
        ((3, "100 Trying"), (6, "200 OK")),
        ((0, "180 Ringing"), (6, "200 OK")),
        ((0, "183 Session Progress"), (6, "200 OK")),
    ],
    ids=["trying", "late-trying", "ringing", "early-media"],
)
def test_a_trunk_that_said_anything_is_waited_for(
    bed: tuple[Exchange, Line, Line, Phone], script: tuple[tuple[float, str], ...]
) -> None:
    _, a, b, phone = bed
    a.does(*script)
    assert phone.dial(OUTSIDE).code == 200
    assert a.invites
    assert not b.invites


@pytest.mark.parametrize("first", ["180 Ringing", "183 Session Progress"])
def test_nobodys_telephone_rings_twice(bed: tuple[Exchange, Line, Line, Phone], first: str) -> None:
    _, a, b, phone = bed
    a.does((0, first), (0.5, "503 Service Unavailable"))
    assert phone.dial(OUTSIDE).code == 503
    assert not b.invites


def test_early_media_reaches_the_phone(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    _, a, _, phone = bed
    a.does((0, "183 Session Progress"), (0.5, "200 OK"))
    assert phone.dial(OUTSIDE).code == 200
    assert any(getattr(message, "code", 0) == 183 and message.body for message in phone.received)


def test_a_full_trunk_is_passed_over(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    _, a, b, phone = bed
    for _ in range(3):
        assert phone.dial(OUTSIDE).code == 200
    assert (len(a.invites), len(b.invites)) == (2, 1)
    phone.hangup(phone.dialogs.pop(0))
    eventually(lambda: "BYE" in a.methods(), "the first call ended at the provider")
    assert phone.dial(OUTSIDE).code == 200
    assert (len(a.invites), len(b.invites)) == (3, 1)


def test_no_line_left_is_told_as_503(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    _, a, b, phone = bed
    for line in (a, b):
        line.does((0, "500 Server Error"))
    assert phone.dial(OUTSIDE).code == 503


@pytest.mark.parametrize(
    ("number", "code"), [("00", 484), ("0899000001", 403), ("000442079460999", 403), ("000390200000999", 200)]
)
def test_what_isnt_a_number_or_not_allowed_never_leaves(
    bed: tuple[Exchange, Line, Line, Phone], number: str, code: int
) -> None:
    _, a, b, phone = bed
    assert phone.dial(number).code == code
    assert bool(a.invites or b.invites) == (code == 200)


def test_the_caller_is_shown_by_number_alone_and_hidden_when_the_phone_says_so(
    bed: tuple[Exchange, Line, Line, Phone],
) -> None:
    _, a, _, phone = bed
    assert phone.dial(OUTSIDE).code == 200
    invite = a.first
    assert invite.from_address.uri.user == MAIN
    assert not invite.from_address.name
    assert f"sip:{MAIN}@" in invite.headers["P-Asserted-Identity"]
    assert invite.headers.get("Diversion") is None
    assert invite.headers.get("Privacy") is None
    assert phone.dial(OUTSIDE, Privacy="id").code == 200
    hidden = a.invites[-1]
    assert str(hidden.from_address.uri) == "sip:anonymous@anonymous.invalid"
    assert f"sip:{MAIN}@" in hidden.headers["P-Asserted-Identity"]
    assert hidden.headers["Privacy"] == "id"


def test_nothing_was_logged_that_nobody_expects(bed: tuple[Exchange, Line, Line, Phone]) -> None:
    assert bed[0].log() == []
