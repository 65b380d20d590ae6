"""Words of the command line: assignments, durations, moments, numbers."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from appliance.commands.calls import share
from appliance.commands.calls_filter import begin, e164
from appliance.commands.calls_text import clock
from appliance.commands.common import one_line, plain
from appliance.commands.configuration import allowed, moment, seconds
from appliance.commands.fields import fields, summary
from appliance.commands.objects import assigned, fields_help, masked, read_value, value_of
from appliance.core.document import parse
from appliance.core.errors import InvalidError
from appliance.kinds import KINDS
from appliance.organisation.model import Secret, Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.media.model import CodecPolicy
from appliance.pbx.numbers.model import NumberPlan

ROME = timezone(timedelta(hours=1))
NOW = datetime(2030, 1, 31, 22, 0, 30, tzinfo=ROME)


def fault(error: pytest.ExceptionInfo[InvalidError]) -> tuple[str, str]:
    return error.value.faults[0].path, error.value.faults[0].message


def test_assignments_set_unset_and_reach_into_parts() -> None:
    data: dict[str, Any] = {"id": "hq", "name": "Old", "time_zone": "Europe/Rome", "address": None}
    words = ["name=New = newer", "time_zone=", "address.city=Milano", "address.street=Via dell'Esempio 1"]
    assert assigned(Site, data, words) == {
        "id": "hq",
        "name": "New = newer",
        "address": {"city": "Milano", "street": "Via dell'Esempio 1"},
    }
    assert assigned(Site, {"id": "hq"}, []) == {"id": "hq"}


@pytest.mark.parametrize(
    ("word", "path", "message"),
    [
        ("name", "name", "is not FIELD=VALUE"),
        ("=x", "=x", "is not FIELD=VALUE"),
        ("id=other", "site/hq/id", "never changes"),
        ("id.x=other", "site/hq/id", "never changes"),
        ("name.x=y", "site/hq/name.x", "has no such part"),
        ("links=[{to: x]", "links", "is not a valid list or mapping"),
    ],
)
def test_assignments_that_can_t_be(word: str, path: str, message: str) -> None:
    with pytest.raises(InvalidError) as error:
        assigned(Site, {"id": "hq", "name": "Here"}, [word])
    assert fault(error) == (path, message)


@pytest.mark.parametrize(
    ("model", "field", "text", "value"),
    [
        (Extension, "label", "[Reception] {x}", "[Reception] {x}"),
        (Extension, "number", "0201", "0201"),
        (Device, "allowed_transports", "tls, udp,", ["tls", "udp"]),
        (Device, "allowed_transports", "[tls, udp]", ["tls", "udp"]),
        (CodecPolicy, "codecs", "opus", ["opus"]),
        (NumberPlan, "ranges", "[{first: '0200', last: '0299'}]", [{"first": "0200", "last": "0299"}]),
        (Site, "address.city", "{Milano", "{Milano"),
        (Site, "links", "[{to: branch, max_calls: 2}]", [{"to": "branch", "max_calls": "2"}]),
    ],
)
def test_values_have_the_type_of_their_field(model: type[Any], field: str, text: str, value: object) -> None:
    assert value_of(model, field.split("."), text) == value


def test_what_is_assigned_parses_into_the_object() -> None:
    words = ["name=Plan", "ranges=[{first: '0200', last: '0299'}]"]
    plan = parse(KINDS, "number_plan", assigned(NumberPlan, {"id": "plan"}, words))
    assert isinstance(plan, NumberPlan)
    assert plan.ranges[0].first == "0200"


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("2h", 7200), ("45", 45)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "0m", "-5m", "1.5h", "10 m", "soon", "1d", "9999999s"])
def test_durations_that_can_t_be(text: str) -> None:
    with pytest.raises(InvalidError) as error:
        seconds(text)
    assert fault(error) == ("--confirm", "is not a duration")


def test_a_time_of_day_is_the_next_one() -> None:
    assert moment("22:30", NOW) == datetime(2030, 1, 31, 22, 30, tzinfo=ROME)
    assert moment("22:00", NOW) == datetime(2030, 2, 1, 22, 0, tzinfo=ROME)
    assert moment("6:05", NOW) == datetime(2030, 2, 1, 6, 5, tzinfo=ROME)
    assert moment("2030-02-03T04:05:00+00:00", NOW) == datetime(2030, 2, 3, 4, 5, tzinfo=UTC)
    assert moment("2030-02-03T04:05", NOW).tzinfo is not None
    for text in ("25:00", "12:60", "soon", "2030-02-30"):
        with pytest.raises(InvalidError) as error:
            moment(text, NOW)
        assert fault(error) == ("--at", "is not a time")


def test_moments_that_calls_began_at() -> None:
    midnight = datetime(2030, 1, 31, tzinfo=ROME)
    assert begin("today", "--since", NOW) == midnight
    assert begin("2h", "--since", NOW) == NOW - timedelta(hours=2)
    assert begin("7d", "--since", NOW) == NOW - timedelta(days=7)
    assert begin("30m", "--since", NOW) == NOW - timedelta(minutes=30)
    assert begin("08:30", "--since", NOW) == midnight + timedelta(hours=8, minutes=30)
    assert begin("2030-01-02T03:04:05+00:00", "--since", NOW) == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert begin("2030-01-02", "--since", NOW).tzinfo is not None
    for text in ("99999d9", "24:00", "yesterdayish", "99999d" * 2):
        with pytest.raises(InvalidError) as error:
            begin(text, "--until", NOW)
        assert fault(error) == ("--until", "is not a time")


def test_outside_numbers_are_looked_for_as_they_are_recorded() -> None:
    assert e164("0200000200", "IT") == "+390200000200"
    assert e164("00390200000200", "IT") == "+390200000200"
    assert e164("3000000000", "IT") == "+393000000000"
    assert e164("+", "IT") == "+"


def test_only_effects_that_were_asked_for_are_allowed() -> None:
    assert allowed(drops=False, restart=False) == ()
    assert allowed(drops=True, restart=True) == ("drops_connections", "needs_restart")


def test_secrets_are_masked() -> None:
    sealed = "sealed:v1:" + "A" * 40
    assert masked(Secret(id="x", value=sealed)) == {"id": "x", "value": "••••••"}
    assert masked(Secret(id="x")) == {"id": "x", "value": None}
    device = Device(id="x", extension="y", secret="x")
    assert masked(device)["secret"] == "x"


def test_values_in_a_line() -> None:
    assert [plain(None), plain(True), plain(()), plain(["a", "b"])] == ["–", "yes", "–", "a, b"]
    assert plain([{"to": "torino", "max_calls": 4}]) == "to=torino max_calls=4"
    assert one_line("no\nsuch\nfile") == "no such file"


def test_figures_of_calls() -> None:
    assert [clock(0), clock(59_600), clock(61_000), clock(3_661_000)] == ["0:00", "1:00", "1:01", "1:01:01"]
    assert [share(None, 5), share(1, 0), share(1, 200)] == ["–", "0.0", "0.5"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_says_what_it_is_and_which_fields_it_has(kind: str) -> None:
    assert 5 < len(summary(KINDS[kind])) < 120
    assert not summary(KINDS[kind]).endswith(".")
    for name in KINDS[kind].model_fields:
        assert name == "id" or re.search(rf"[ \[]{name}\b", fields_help(KINDS[kind]))
    rows = {row.name: row for row in fields(KINDS[kind])}
    assert all(row.values not in ("", "value") for row in rows.values())
    assert len(rows) == len(list(fields(KINDS[kind]))) or kind in (
        "did",
        "inbound_route",
        "ring_group",
        "history_export",
    )


def test_fields_say_what_they_take() -> None:
    rows = {row.name: row for row in (*fields(Site), *fields(Device), *fields(Extension))}
    assert rows["company"].values == "company id"
    assert rows["links[].max_calls"].values == "number 0–10000"
    assert rows["networks"].values == "list of network (CIDR)"
    assert rows["allowed_transports"].values == "list of udp, tcp, tls, wss, at least 1"
    assert (rows["allowed_transports"].default, rows["number"].default, rows["label"].default) == (
        "udp",
        "required",
        "",
    )


@pytest.mark.parametrize("value", [" blank", "blank\t", "\u00a0blank", "two\nlines", ""])
def test_secrets_that_no_engine_file_can_carry_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(value + "\n"))
    with pytest.raises(InvalidError) as caught:
        read_value("line", None)
    assert fault(caught)[0] == "secret/line/value"


def test_a_secret_may_hold_blanks_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("open ; sesame\n"))
    assert read_value("line", None) == "open ; sesame"
