"""``centralino calls`` on a history of its own, as a person or a program runs it."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from appliance.cli import app
from appliance.commands.calls_filter import span
from appliance.core.errors import InvalidError
from appliance.history.filter import CallFilter, Range
from appliance.history.labels import Kind, labels_of
from appliance.history.model import Outcome
from appliance.store.history import open_history
from tests.unit.history.samples import calls, matches, newest_first, store

MADE = calls(120, seed=21)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db"
    database = open_history(url)
    store(database, MADE)
    database.close()
    return url


@pytest.fixture
def run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CENTRALINO_HISTORY_URL", url)
    monkeypatch.setenv("CENTRALINO_STATE", str(tmp_path))
    monkeypatch.setenv("TZ", "Europe/Rome")
    monkeypatch.setenv("LANGUAGE", "en")

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, ["calls", *words], catch_exceptions=True)

    return call


def ids(result: Result) -> list[int]:
    assert result.exit_code == 0, result.output
    return [found["id"] for found in json.loads(result.stdout)["calls"]]


def expected(filter: CallFilter) -> list[int]:
    return [id for id, call in newest_first(MADE) if matches(call, id, filter, None)]


@pytest.mark.parametrize(
    ("words", "filter"),
    [
        (["--prefix", "+39 02"], CallFilter(number_prefix="+3902")),
        (["--number-part", "0000-1"], CallFilter(number_part="00001")),
        (["--name", "RECEP"], CallFilter(name="recep")),
        (["--name", "%"], CallFilter(name="%")),
        (["--extension", "103"], CallFilter(extension="103")),
        (["--device", "101-1"], CallFilter(device="101-1")),
        (["--trunk", "a", "--site", "hq"], CallFilter(trunk="a", site="hq")),
        (["--talked", "60-300"], CallFilter(talk_ms=Range(60_000, 300_000))),
        (["--rang", "-5", "--outcome", "busy"], CallFilter(ring_ms=Range(None, 5_000), outcome=Outcome.BUSY)),
        (["--loss", "2.5-"], CallFilter(loss_percent=Range(2.5))),
        (["--jitter", "10-"], CallFilter(jitter_ms=Range(10))),
        (["--linked-id", MADE[7].linked_id], CallFilter(linked_id=MADE[7].linked_id)),
    ],
)
def test_every_option_finds_what_it_says(run: Run, words: list[str], filter: CallFilter) -> None:
    found = ids(run(*words, "--limit", "1000", "--json"))
    assert found == expected(filter)
    assert found


def test_the_total_is_said_when_asked_for(run: Run) -> None:
    found = json.loads(run("--trunk", "a", "--limit", "1", "--total", "--json").stdout)
    assert found["total"] == {"calls": len(expected(CallFilter(trunk="a"))), "exact": True}
    assert "total" not in json.loads(run("--limit", "1", "--json").stdout)
    assert f"{len(MADE)} calls in all" in run("--total").output


def test_statistics_by_site(run: Run) -> None:
    result = run("statistics", "--by", "site", "--since", "2025-10-01", "--until", "2025-12-01", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["zone"] == "Europe/Rome"
    assert found["total"]["calls"] == len(MADE)
    for row in found["rows"]:
        there = [call for call in MADE if (Kind.SITE, row["key"]) in labels_of(call)]
        assert row["calls"] == len(there)
        assert row["answer_rate"] == sum(call.outcome is Outcome.ANSWERED for call in there) / len(there)
    table = run("statistics", "--by", "day", "--since", "2025-10-01", "--until", "2025-12-01")
    assert "2025-10-26" in table.output
    assert run("statistics", "--zone", "Europe/Atlantis", "--json").exit_code != 0


def test_export_writes_a_file_that_only_its_owner_reads(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    assert run("export", str(file), "--trunk", "a", "--bom", "--separator", ";").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    records = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))
    assert [int(record["id"]) for record in records] == expected(CallFilter(trunk="a"))
    assert records[0]["started"][-6:] in ("+01:00", "+02:00")
    again = run("export", str(file))
    assert again.exit_code != 0
    assert file.read_text(encoding="utf-8-sig") == text
    assert run("export", str(tmp_path / "no" / "calls.csv")).exit_code != 0


def test_statistics_are_added_up_again(run: Run) -> None:
    result = run("rebuild-statistics")
    assert result.exit_code == 0, result.output
    assert str(len(MADE)) in result.output


@pytest.mark.parametrize(
    ("text", "range"),
    [
        ("60-", Range(60)),
        ("-5", Range(None, 5)),
        ("1-5", Range(1, 5)),
        ("7", Range(7, 7)),
        ("0.5-", Range(0.5)),
        ("", None),
    ],
)
def test_ranges(text: str, range: Range | None) -> None:
    assert span(text, "--x") == range


@pytest.mark.parametrize("text", ["-", "x", "1--2", "1 - 2", "1e3", "--5", "٣-", "-1-"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(InvalidError):
        span(text, "--x")
