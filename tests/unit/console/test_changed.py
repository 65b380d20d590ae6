"""Changes and faults in people's words; days and figures as each language writes them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.console.portal.account import browser_of
from appliance.console.portal.changed import Told
from appliance.console.portal.forms import FormField
from appliance.console.portal.page_context import built_in_of
from appliance.console.portal.writing import day, day_of_year, decimal, figure, moments, month
from appliance.i18n import speaking

NAMES = {
    "extension": {"ext-201": "201 Reception", "ext-202": "202 Sales"},
    "ring_group": {"front-desk": "400 Front desk"},
    "person": {"anna": "Anna B."},
    "site": {"milano": "Milano"},
}


@pytest.fixture
def told() -> Told:
    def named(one: FormField) -> dict[str, str]:
        return {**built_in_of(one), **{id: name for kind in one.kinds for id, name in NAMES.get(kind, {}).items()}}

    return Told(lambda kind, one: NAMES.get(kind, {}).get(one, ""), named)


@pytest.fixture
def italian() -> Iterator[None]:
    speaking("it")
    yield
    speaking("")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("extension/ext-201/label", "Extension 201 Reception: Label"),
        ("ring_group/front-desk/members[1].extension", "Ring group 400 Front desk: Members 2: Extension"),
        ("ring_group/front-desk/no_answer.number.number", "Ring group 400 Front desk: When nobody answers: Call an outside number: Number"),
        ("ring_group/front-desk/no_answer.type", "Ring group 400 Front desk: When nobody answers"),
        ("site/roma/address.city", "Site roma: Street address: City"),
        ("site/roma/id", "Site roma: Id"),
        ("site/roma", "Site roma"),
        ("site/roma/odd.thing[x]", "Site roma: odd.thing.x"),
        ("site/roma/address[0].city", "Site roma: Street address: 0.city"),
        ("request", "request"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_path_in_words(told: Told, path: str, text: str) -> None:
    assert told.whole(path) == text


@pytest.mark.parametrize(
    ("kind", "inner", "value", "text"),
    [
        ("extension", "label", "Desk", "Desk"),
        ("extension", "label", "", ""),
        ("extension", "label", None, ""),
        ("extension", "ring_seconds", 60, "60 s"),
        ("extension", "site", "milano", "Milano"),
        ("extension", "site", "gone", "gone"),
        ("extension", "odd", {"a": 1}, '{"a": 1}'),
        ("extension", "odd", True, "Yes"),
        ("device", "nomadic", True, "Yes"),
        ("device", "allowed_transports", ["udp", "wss"], "UDP, WebSocket (WSS)"),
        ("person", "roles", ["administrator", "own"], "Administrator, own"),
        ("role", "permissions", ["extension.label:edit", "*:view", "calls:edit", "odd:view", "odd"], "Extensions, Label: edit; Everything: view; Calls now: edit; odd:view; odd"),
        ("secret", "", {}, ""),
        ("ring_group", "no_answer.type", "extension", "Ring an extension"),
        ("ring_group", "no_answer", {"type": "extension", "extension": "ext-202"}, "Ring an extension (Extension: 202 Sales)"),
        (
            "ring_group", "members",
            [{"extension": "ext-201", "delay_seconds": 0}, {"extension": "ext-202", "delay_seconds": 5}],
            "Extension: 201 Reception, Starts after: 0 s; Extension: 202 Sales, Starts after: 5 s",
        ),
    ],
)  # fmt: skip
def test_a_value_in_words_and_whole(told: Told, kind: str, inner: str, value: Any, text: str) -> None:
    assert told.value(kind, inner, json.dumps(value)) == text


def test_of_secrets_only_that_there_is_one(told: Told) -> None:
    assert [told.value("secret", "value", text) for text in ("(secret)", "(changed)")] == ["set", "changed"]


def test_who_did_it_by_name(told: Told) -> None:
    assert [told.person(id) for id in ("anna", "root")] == ["Anna B.", "root"]


@pytest.mark.usefixtures("italian")
def test_in_italian(told: Told) -> None:
    assert told.whole("extension/ext-201/label") == "Interno 201 Reception: Etichetta"
    assert told.value("person", "roles", '["it-manager"]') == "Responsabile IT"


DAY = datetime.date(2026, 3, 2)


def test_days_and_figures_in_english() -> None:
    assert (day(DAY), day_of_year(DAY), month(DAY)) == ("2 Mar 2026", "2 Mar", "Mar 2026")
    assert (figure(12345.4), decimal(0.25), decimal(1, 2)) == ("12,345", "0.2", "1.00")
    assert moments("Europe/Rome")(1_772_440_200_000) == "2 Mar 2026 09:30:00"
    assert moments("Europe/Rome")(None) == "–"


@pytest.mark.usefixtures("italian")
def test_days_and_figures_in_italian() -> None:
    assert (day(DAY), day_of_year(DAY), month(DAY)) == ("02/03/2026", "02/03", "03/2026")
    assert (figure(12345.4), decimal(0.25), decimal(1, 2)) == ("12.345", "0,2", "1,00")
    assert moments("Asia/Kolkata", seconds=False)(1_772_440_200_000) == "02/03/2026 14:00"


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:150.0) Gecko/20100101 Firefox/150.0", "Firefox on macOS"),
        ("curl/8.14", "curl/8.14"),
        ("x" * 500, "x" * 60),
        ("", "Unknown browser"),
    ],
)  # fmt: skip
def test_a_browser_s_name(agent: str, text: str) -> None:
    assert browser_of(agent) == text
