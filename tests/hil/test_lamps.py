"""Lamps go on following an extension when its devices change under them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.core.document import parse
from appliance.kinds import KINDS
from tests.hil.agents.peer import SipPeer
from tests.hil.company import PBX, Company, open_company


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with open_company(tmp_path_factory.mktemp("lamps")) as company:
        yield company


def test_a_device_that_comes_and_goes_is_seen_by_who_watches_already(company: Company) -> None:
    password = company.system.passwords
    with SipPeer(company.desk, PBX) as lamp:
        watch = lamp.subscribe("204-1", password["204-1"], "202", "dialog")
        watch.until("terminated")
        second = {"id": "202-2", "extension": "ext-202", "slot": 2, "secret": "202-2"}
        company.system.commit(parse(KINDS, "device", second), parse(KINDS, "secret", {"id": "202-2"}))
        phone, _ = company.phone("202-2"), company.phone("202-1")
        call = phone.call("*43").established()
        watch.until("confirmed")
        call.hangup()
        watch.until("terminated")
        # The dialplan that the watched hint is in.
        ranges = [{"first": "201", "last": "250"}, {"first": "400", "last": "449"}, {"first": "500", "last": "549"}]
        company.put("number_plan", id="plan", name="Plan", ranges=ranges)
        one = company.phone("201-1")
        call = one.call("202").ringing()
        watch.until("early")
        call.hangup()
        watch.until("terminated")
    assert company.system.client.check() == []
