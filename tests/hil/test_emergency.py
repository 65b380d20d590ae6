"""Emergency calls in each of their conditions: they always pass."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from appliance.engine.ami import AmiError
from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.outside_world import BRANCH_MAIN, MAIN, Exchange, Line, Phone, rows

OUTSIDE = "00200000999"
ANSWER = ((0, "180 Ringing"), (0.1, "200 OK"))
Bed = tuple[Exchange, Line, Line, Phone, Phone]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    world = rows(
        trunks={"a": {"max_calls": 1}, "b": {"max_calls": 2}},
        more=[
            ("class_of_service", {"id": "nothing", "name": "Nothing", "allow": ["internal"], "deny_prefixes": ["+"]}),
            # A handset of the branch's extension that was carried to the head office: its place counts.
            ("device", {"id": "301-2", "extension": "ext-301", "slot": 2, "site": "hq", "class_of_service": "nothing", "secret": "301-2"}),
            ("secret", {"id": "301-2"}),
        ],
    )  # fmt: skip
    with (
        Network() as net,
        Exchange(net, tmp_path_factory.mktemp("emergency"), world) as exchange,
        exchange.line("a") as a,
        exchange.line("b") as b,
        exchange.phone("201-1") as phone,
        exchange.phone("301-1") as branch,
    ):
        yield exchange, a, b, phone, branch


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    exchange, *peers = bed
    for peer in peers:
        peer.begin_anew()
    for line in peers[:2]:
        line.does(*ANSWER)
        line.times.clear()
    yield
    with exchange.ami() as ami:
        for channel in exchange.channels():
            with contextlib.suppress(AmiError):  # the other leg takes it along
                ami.hangup(channel)
    eventually(lambda: not exchange.channels(), "no channel is left over")


@pytest.mark.parametrize("dialled", ["112", "113", "115", "118", "0112", "+39112", "0+39118"])
def test_emergency_numbers_pass_with_and_without_prefix(bed: Bed, dialled: str) -> None:
    _, a, b, phone, _ = bed
    assert phone.dial(dialled).code == 200
    assert a.first.uri.user == dialled[-3:]
    assert a.first.from_address.uri.user == MAIN
    assert not b.invites


@pytest.mark.parametrize("user", ["112;phone-context=+39", "112;phone-context=example.com"])
def test_a_number_with_parameters_of_its_own_is_the_number(bed: Bed, user: str) -> None:
    """RFC 3261, section 19.1.6: a telephone number made a SIP URI keeps its parameters in the user part."""
    _, a, _, phone, _ = bed
    assert phone.dial(user, uri_parameters=";user=phone").code == 200
    assert a.first.uri.user == "112"


def test_a_call_goes_by_the_devices_site_with_that_sites_number(bed: Bed) -> None:
    exchange, a, b, _, branch = bed
    assert branch.dial("112").code == 200
    assert b.first.from_address.uri.user == BRANCH_MAIN
    assert not a.invites
    with exchange.phone("301-2") as carried:
        assert carried.dial("112").code == 200
        assert a.first.from_address.uri.user == MAIN


def test_class_of_service_lock_and_clir_dont_matter(bed: Bed) -> None:
    exchange, a, _, phone, _ = bed
    with exchange.ami() as ami:
        ami.db_put("lock", "ext-201", "1")
    try:
        assert phone.dial(OUTSIDE).code == 403
        assert phone.dial("112", Privacy="id").code == 200
    finally:
        with exchange.ami() as ami:
            ami.db_delete("lock", "ext-201")
    assert a.first.from_address.uri.user == MAIN
    assert a.first.headers.get("Privacy") is None


def test_a_phone_that_hides_its_number_calls_with_the_sites(bed: Bed) -> None:
    _, a, _, phone, _ = bed
    assert phone.dial("112", From='"Anonymous" <sip:anonymous@anonymous.invalid>;tag=hidden').code == 200
    assert a.first.from_address.uri.user == MAIN
    assert a.first.headers.get("Privacy") is None


def test_a_full_trunk_gives_up_another_call(bed: Bed) -> None:
    _, a, b, phone, _ = bed
    assert phone.dial(OUTSIDE).code == 200
    assert [request.uri.user for request in a.invites] == ["+390200000999"]
    assert phone.dial("112").code == 200
    assert [request.uri.user for request in a.invites] == ["+390200000999", "112"]
    # The line was free before it was asked for again, and the other caller was told.
    assert [method for method in a.methods() if method in ("BYE", "INVITE")] == ["INVITE", "BYE", "INVITE"]
    eventually(lambda: "BYE" in phone.methods(), "the other call ended at its phone")
    assert not b.invites


def test_an_emergency_call_never_ends_another(bed: Bed) -> None:
    _, a, b, phone, _ = bed
    assert phone.dial("112").code == 200
    assert phone.dial("118").code == 200
    assert [request.uri.user for request in a.invites] == ["112", "118"]
    assert "BYE" not in a.methods()
    assert not b.invites


def test_a_call_back_is_the_last_that_is_given_up(bed: Bed) -> None:
    exchange, _, b, _, branch = bed
    assert branch.dial("112").code == 200
    branch.hangup(branch.dialogs.pop())
    eventually(lambda: not exchange.channels(), "the emergency call is over")
    branch.register()
    answering = b.call(BRANCH_MAIN, "+390200000112", "198.51.100.10")
    assert branch.dial(OUTSIDE).code == 200
    assert branch.dial("118").code == 200
    assert [request.uri.user for request in b.invites] == ["112", "+390200000999", "118"]
    ended = [m.call_id for m in b.received if getattr(m, "method", "") == "BYE"]
    assert answering.call_id not in ended
    assert b.invites[1].call_id in ended


@pytest.mark.parametrize(
    "script",
    [
        ((0, "503 Service Unavailable"),),
        ((0, "486 Busy Here"),),
        ((0, "404 Not Found"),),
        ((0, "180 Ringing"), (0.3, "480 Gone")),
        (),
    ],
    ids=["503", "486", "404", "ringing-480", "silent"],
)
def test_every_failure_leads_to_the_next_trunk(bed: Bed, script: tuple[tuple[float, str], ...]) -> None:
    _, a, b, phone, _ = bed
    a.does(*script)
    assert phone.dial("112").code == 200
    assert a.invites
    assert b.first.uri.user == "112"
    assert b.first.from_address.uri.user == MAIN
    assert b.at - a.at < 4


def test_a_branch_whose_own_line_is_dead_takes_the_others(bed: Bed) -> None:
    _, a, b, _, branch = bed
    b.does((0, "503 Service Unavailable"))
    assert branch.dial("112").code == 200
    assert a.first.from_address.uri.user == BRANCH_MAIN


def test_a_provider_with_fewer_lines_than_we_know_gets_one_back_in_the_second_round(bed: Bed) -> None:
    _, a, b, phone, branch = bed
    a.does((0, "500 Dead"))
    assert branch.dial(OUTSIDE).code == 200  # occupies b
    b.does((0, "503 Service Unavailable"))

    def has_a_line_again_when_the_other_call_ends() -> None:
        eventually(lambda: "BYE" in b.methods(), "BYE")
        b.does(*ANSWER)

    provider = threading.Thread(target=has_a_line_again_when_the_other_call_ends)
    provider.start()
    assert phone.dial("112").code == 200
    provider.join()
    assert [request.uri.user for request in b.invites] == ["+390200000999", "112", "112", "112"]


def test_when_nothing_goes_the_caller_is_told(bed: Bed) -> None:
    _, a, b, phone, _ = bed
    for line in (a, b):
        line.does((0, "500 Dead"))
    assert phone.dial("112").code == 503
    assert len(a.invites) == 3  # at the site, then two rounds of all
    assert len(b.invites) == 3


def test_nothing_was_logged_that_nobody_expects(bed: Bed) -> None:
    assert bed[0].log() == []
