"""A product with legs in several networks that aren't routed: voice goes where the phone is, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hil.agents.network import Host, command
from tests.hil.agents.softphone import SoftPhone
from tests.hil.office import Office, Row, open_office, talk

V4, V6, BRANCH = "192.0.2.10", "2001:db8:1::10", "203.0.113.10"
MORE: list[Row] = [
    ("listener", {"id": "six", "name": "IPv6", "transport": "udp", "address": V6}),
    ("listener", {"id": "vpn", "name": "VPN", "transport": "udp", "address": BRANCH}),
    ("ring_group", {"id": "all", "name": "All", "number": "400", "site": "hq",
                    "members": [{"extension": f"ext-{n}"} for n in (203, 205)]}),
]  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("networks"), MORE, lans=["branch"]) as office:
        yield office


@pytest.fixture
def lan(office: Office) -> SoftPhone:
    return office.phone("201-1")


def phone_at(office: Office, host: Host, device: str, registrar: str) -> SoftPhone:
    made = SoftPhone(host, office.work / f"{device}-{host.name}", device, office.password(device), registrar)
    return office.stack.enter_context(made)


@pytest.fixture(scope="module")
def six(office: Office) -> SoftPhone:
    """A phone in a network without IPv4."""
    host = office.net.host("six")
    command(["ip", "-n", host.namespace, "-4", "addr", "flush", "dev", "eth0"])
    return phone_at(office, host, "205-1", V6).register()


@pytest.fixture(scope="module")
def branch(office: Office) -> SoftPhone:
    """A phone in a network of which the first listener knows nothing."""
    return phone_at(office, office.net.host("shop", "branch"), "203-1", BRANCH).register()


def test_calls_to_and_from_a_phone_without_ipv4(lan: SoftPhone, six: SoftPhone) -> None:
    talk(lan, six, lan.call("205"))
    talk(six, lan, six.call("201"))


def test_calls_to_and_from_a_phone_in_another_network(lan: SoftPhone, branch: SoftPhone) -> None:
    talk(lan, branch, lan.call("203"))
    talk(branch, lan, branch.call("201"))


def test_a_group_of_phones_in_different_networks(lan: SoftPhone, six: SoftPhone, branch: SoftPhone) -> None:
    for phone, other in ((six, branch), (branch, six)):
        call = lan.call("400").ringing()
        incoming, losing = phone.incoming(), other.incoming()
        incoming.answer()
        call.established()
        assert lan.hears(phone.tone_hz).listen(phone.tone_hz).good()
        assert phone.hears(lan.tone_hz).listen(lan.tone_hz).good()
        losing.closed()
        call.hangup()
        incoming.closed()


def test_a_phone_that_moves_to_another_network_is_called_there(office: Office, lan: SoftPhone) -> None:
    with SoftPhone(office.desk, office.work / "before", "204-1", office.password("204-1"), V4) as before:
        talk(lan, before.register(), lan.call("204"))
    after = phone_at(office, office.net.host("home", "branch"), "204-1", BRANCH).register()
    talk(lan, after, lan.call("204"))
