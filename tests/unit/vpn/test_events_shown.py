"""What happened at a branch, asked of the voice VPN's process and shown by the command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.core.errors import InvalidError
from appliance.vpn.asking import Orders
from appliance.vpn.inside.events import Events
from appliance.vpn.orders import answer_order
from tests.unit.vpn.test_events import batch, numbers


def asked(path: Path, events: Events | None, ask: Callable[[Orders], object]) -> object:
    async def work() -> object:
        server = await asyncio.start_unix_server(
            lambda *both: answer_order(lambda _site: (), *both, events=events), path
        )
        async with server:
            return await asyncio.to_thread(ask, Orders(path))

    return asyncio.run(work())


def test_the_newest_come_first_and_only_of_that_site(tmp_path: Path) -> None:
    events = Events(tmp_path / "events")
    events.take("torino", batch(1, 2, 3))
    events.take("roma", batch(1))
    found = asked(tmp_path / "s", events, lambda orders: orders.events("torino"))
    assert found == events.of("torino")
    assert numbers(events) == [3, 2, 1]
    assert asked(tmp_path / "t", events, lambda orders: orders.events("bari")) == []
    assert asked(tmp_path / "u", None, lambda orders: orders.events("torino")) == []


@pytest.mark.parametrize("site", ["", "../torino", "a b", "x" * 99])
def test_what_is_no_site_reads_no_file(tmp_path: Path, site: str) -> None:
    with pytest.raises(InvalidError, match="is no id of a site"):
        asked(tmp_path / "s", Events(tmp_path), lambda orders: orders.events(site))


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("What happened at torino", "line 1 is down", "[bold]", "wasn't sure")),
        ("it", ("Che cosa è successo a torino", "la linea 1 non funziona", "[bold]", "non era sicuro")),
    ],
)
def test_the_command_tells_it_as_one_reads(
    language: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def event(number: int, what: str, *, sure: bool = True, **about: Any) -> dict[str, Any]:
        return {
            "journal": "0" * 16,
            "number": number,
            "what": what,
            "at": 1_795_000_000_000,
            "sure": sure,
            "about": about,
        }

    found = [event(2, "fault", text="[bold]x"), event(1, "line_down", sure=False, line=1)]
    monkeypatch.setattr(Orders, "events", lambda _orders, site: found if site == "torino" else [])
    env = {"CENTRALINO_LANGUAGE": language, "COLUMNS": "200"}
    done = CliRunner().invoke(app, ["vpn", "events", "torino"], env=env)
    assert done.exit_code == 0, done.output
    for each in words:
        assert each in done.output
    assert done.output.index(words[1]) < done.output.index("[bold]")
    assert CliRunner().invoke(app, ["vpn", "events", "roma"], env=env).exit_code == 0
    assert '"number": 2' in CliRunner().invoke(app, ["vpn", "events", "torino", "--json"], env=env).output
