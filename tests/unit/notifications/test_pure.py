"""What needs no database and no network: catalogue, signatures, schedule, addresses."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import itertools
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.document import Document, parse
from appliance.history.export import COLUMNS
from appliance.history.notice import EVERY_NOTICE
from appliance.kinds import KINDS
from appliance.notifications import backoff
from appliance.notifications.events import EVENTS, FIELDS, Names
from appliance.notifications.model import CallColumn, EventField, EventType, HistoryExport
from appliance.notifications.queue import AHEAD_MS
from appliance.notifications.schedule import file_name, is_due, last_due
from appliance.notifications.signature import headers, key_of, signature
from appliance.notifications.verify import forbidden, is_local, verify
from tests.unit.test_pure_core import impurities

NOTIFICATIONS = Path(__file__).parents[3] / "appliance" / "notifications"
ROME = ZoneInfo("Europe/Rome")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43


@pytest.mark.parametrize("name", ["events", "signature", "schedule"])
def test_pure_code_does_no_io(name: str) -> None:
    assert impurities((NOTIFICATIONS / f"{name}.py").read_text()) == []


def test_the_catalogue_is_whole() -> None:
    assert {each.value for each in EventType} == set(EVERY_NOTICE)
    assert set(EVENTS) == set(EventType)
    assert set(FIELDS) == set(EventField)
    assert {field for kind in EVENTS.values() for field in kind.fields} == set(EventField)
    assert tuple(each.value for each in CallColumn) == COLUMNS


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    secret, id, moment = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, id, moment, b'{"test": 2432232314}') == expected
    both = headers([secret, "other"], id, moment, b'{"test": 2432232314}')
    assert both["Webhook-Signature"].split(" ")[0] == expected
    assert len(both["Webhook-Signature"].split(" ")) == 2
    assert len(headers([secret, secret], id, moment, b"")["Webhook-Signature"].split(" ")) == 1


def test_any_text_is_a_key() -> None:
    assert key_of("whsec_" + base64.b64encode(b"x" * 32).decode()) == b"x" * 32
    assert key_of("whsec_" + base64.b64encode(b"x" * 32).decode().rstrip("=") + "\n") == b"x" * 32
    assert key_of("whsec_ä") == "whsec_ä".encode()
    assert key_of("plain text") == b"plain text"


def test_waits_grow_up_to_an_hour_and_keep_below_what_a_wrong_clock_looks_like() -> None:
    waits = [[backoff.wait_s(n) for _ in range(50)] for n in range(1, 200)]
    assert all(1.6 <= wait <= 2.4 for wait in waits[0])
    assert all(2880 <= wait <= 4320 for wait in waits[-1])
    assert max(map(max, waits)) * 1000 < AHEAD_MS
    assert 48 <= backoff.wait_s(1, 60.0) <= 72
    assert backoff.wait_s(1, 1e9) <= 4320
    assert len({round(wait, 3) for wait in waits[0]}) > 10, "not all at once"


def export(**fields: object) -> HistoryExport:
    target = {"type": "https", "url": "https://example.com", "secret": "s"}
    found = parse(KINDS, "history_export", {"id": "x", "name": "X", "site": "hq", "target": target, **fields})
    assert isinstance(found, HistoryExport)
    return found


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({"time": "02:30"}, "2026-11-26T01:29:59", "2026-11-25T01:30:00"),
        ({"time": "02:30"}, "2026-11-26T01:30:00", "2026-11-26T01:30:00"),
        # Clocks go forward at 02:00 of the 29th of March: there is no 02:30; back at 03:00 of the 25th of October: there are two.
        ({"time": "02:30"}, "2026-03-29T03:00:00", "2026-03-29T01:30:00"),
        ({"time": "02:30"}, "2026-10-25T00:30:00", "2026-10-25T00:30:00"),
        ({"time": "02:30"}, "2026-10-25T01:45:00", "2026-10-25T00:30:00"),
        ({"time": "00:00", "every": "week"}, "2026-11-26T12:00:00", "2026-11-22T23:00:00"),
        ({"time": "00:00", "every": "week", "weekday": "friday"}, "2026-11-26T12:00:00", "2026-11-19T23:00:00"),
        ({"time": "06:00", "every": "month"}, "2026-11-26T12:00:00", "2026-11-01T05:00:00"),
        ({"time": "06:00", "every": "month"}, "2026-11-01T04:59:00", "2026-10-01T04:00:00"),
    ],
)
def test_an_export_is_due_in_the_site_s_own_time(fields: dict[str, object], now: str, expected: str) -> None:
    assert last_due(export(**fields), ROME, utc(now)) == utc(expected)


@given(st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2028, 1, 1)), st.sampled_from(["00:00", "02:00", "02:30", "03:00", "23:59"]))  # fmt: skip
def test_every_day_has_its_export_once(start: datetime.datetime, time: str) -> None:
    daily, now = export(time=time), start.replace(tzinfo=datetime.UTC)
    days = []
    last = last_due(daily, ROME, now)
    for _ in range(24 * 4):
        now += datetime.timedelta(minutes=45)
        if is_due(daily, ROME, now, last):
            last = last_due(daily, ROME, now)
            days.append(last.astimezone(ROME).date())
    assert len(days) in (2, 3, 4)
    assert len(set(days)) == len(days)
    assert all(later - earlier == datetime.timedelta(days=1) for earlier, later in itertools.pairwise(days))


def test_a_last_one_in_the_future_was_noted_by_a_wrong_clock() -> None:
    now = utc("2026-11-26T12:00:00")
    assert is_due(export(), ROME, now, utc("2037-01-01T00:00:00"))
    assert not is_due(export(), ROME, now, utc("2026-11-26T01:30:00"))


def test_files_are_named_by_what_they_hold() -> None:
    name = file_name(export(), ROME, utc("2026-03-28T01:30:00"), utc("2026-03-29T01:30:00"), 12)
    assert name == "x_000012_2026-03-28T0230_2026-03-29T0330.csv"


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("169.254.169.254", True), ("fe80::1", True),
        ("0.0.0.0", True),  # noqa: S104
        ("0.1.2.3", True), ("::", True), ("224.0.0.1", True), ("255.255.255.255", True), ("ff02::1", True),
        ("::ffff:127.0.0.1", True), ("::ffff:169.254.169.254", True), ("64:ff9b::7f00:1", True), ("2002:7f00:1::", True),
        ("192.0.2.1", False), ("10.1.2.3", False), ("192.168.1.1", False), ("2001:db8::1", False), ("fd00::1", False),
        ("::ffff:192.0.2.1", False), ("64:ff9b::c000:201", False),
    ],
)  # fmt: skip
def test_which_addresses_are_this_machine_s_own(address: str, refused: bool) -> None:
    assert forbidden(ipaddress.ip_address(address)) is refused


def test_names_of_this_machine() -> None:
    assert all(map(is_local, ("localhost", "LOCALHOST.", "x.localhost", "[::1]", "127.0.0.1")))
    assert not any(map(is_local, ("localhost.example.com", "example.com", "192.0.2.1", "[2001:db8::1]")))


def faults(kind: str, data: dict[str, object]) -> dict[str, str]:
    rows = [
        ("secret", {"id": "s", "value": "sealed:v1:AAAA"}), ("secret", {"id": "empty"}),
        (kind, {"id": "x", "name": "X", **({"site": "hq"} if kind == "history_export" else {}), **data}),
    ]  # fmt: skip
    document = Document.of(parse(KINDS, kind, row) for kind, row in rows)
    return {fault.path.removeprefix(f"{kind}/x/"): fault.error_id for fault in verify(document)}


HOOK = {"type": "webhook", "url": "https://example.com/x", "secret": "s"}
SFTP = {"type": "sftp", "host": "files.example.com", "username": "calls", "secret": "s", "host_key": HOST_KEY}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"url": "https://192.0.2.1:8443?x"}, {}),
        ({"url": "https://[2001:db8::1]:8443/"}, {}),
        ({"url": "https:///x"}, {"target.url": "bad_url"}),
        ({"url": "https://example.com:0/"}, {"target.url": "bad_url"}),
        ({"url": "https://example.com:99999/"}, {"target.url": "bad_url"}),
        ({"url": "https://[::1]/"}, {"target.url": "local_address"}),
        ({"url": "https://localhost:8443/"}, {"target.url": "local_address"}),
        ({"url": "https://localhost:8443/", "allow_local": True}, {}),
        ({"previous_secret": "s"}, {"target.previous_secret": "same_secret"}),
        ({"secret": "empty"}, {"target.secret": "no_value"}),
    ],
)
def test_what_must_hold_of_webhooks(change: dict[str, object], expected: dict[str, str]) -> None:
    assert faults("notification_endpoint", {"target": {**HOOK, **change}}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"host": "127.0.0.1"}, {"target.host": "local_address"}),
        ({"host_key": "ssh-ed25519 AAAA"}, {"target.host_key": "bad_host_key"}),
        ({"host_key": "ssh-rsa " + HOST_KEY.split()[1]}, {"target.host_key": "bad_host_key"}),
        ({"host_key": "ssh-dss " + HOST_KEY.split()[1]}, {"target.host_key": "bad_host_key"}),
    ],
)
def test_what_must_hold_of_exports(change: dict[str, object], expected: dict[str, str]) -> None:
    assert faults("history_export", {"target": {**SFTP, **change}}) == expected


def test_columns_are_named_once_and_mail_is_told_not_to_be_sent() -> None:
    assert faults("history_export", {"target": SFTP, "columns": ["id", "cause", "id"]}) == {"columns": "duplicate"}
    mail = {"type": "email", "address": "noc@example.com"}
    assert faults("notification_endpoint", {"target": mail}) == {"target": "email_not_sent"}


def test_whose_extension_it_is() -> None:
    rows = [
        ("person", {"id": "anna", "name": "Anna B."}),
        ("extension", {"id": "e1", "number": "201", "site": "hq", "person": "anna"}),
        ("extension", {"id": "e2", "number": "202", "site": "hq"}),
    ]
    devices = [
        ("device", {"id": "one", "extension": "e1", "secret": "s"}),
        ("device", {"id": "two", "extension": "e1", "secret": "s", "site": "shop"}),
    ]
    names = Names.of(Document.of(parse(KINDS, kind, row) for kind, row in [*rows, *devices]))
    assert names == Names({"201": ("anna", "Anna B.")}, {"one": "hq", "two": "shop"})
