"""Everybody at once: a ring group of as many members as may ring together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.pbx.groups.model import AT_ONCE_MAX
from tests.hil.agents.process import eventually
from tests.hil.company import Company, open_company, rows, talk

FIRST = 2000


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    members = [{"extension": f"ext-{FIRST + n}"} for n in range(1, AT_ONCE_MAX + 1)]
    group = ("ring_group", {"id": "desk", "name": "Everybody", "number": "400", "site": "hq", "members": members})
    with open_company(tmp_path, rows(AT_ONCE_MAX + 1, first=FIRST, more=[group])) as company:
        yield company


def test_every_member_of_the_largest_group_rings_and_the_last_one_talks(company: Company) -> None:
    """The names of their devices are longer than what the engine takes in one variable."""
    one, last = company.phone(f"{FIRST}-1"), company.phone(f"{FIRST + AT_ONCE_MAX}-1")
    others = [f"{FIRST + n}-1" for n in range(1, AT_ONCE_MAX)]
    phones = company.sipp(company.net.host("phones"), "phones").register(company.users(others)).ringing()
    try:
        call = one.call("400").ringing()
        eventually(lambda: len(phones.invites()) >= len(others), "all of them ring", 20, 0.5)
        talk(one, last, call)
        company.quiet()
        rung = [invite.uri.user for invite in phones.invites()]
        assert sorted(rung) == sorted(others)
    finally:
        phones.stop()
