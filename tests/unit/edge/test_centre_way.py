"""The centre is asked through the tunnel alone: while that doesn't lead there, no connection begins that a line would carry away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.edge import centre
from appliance.edge.centre import Centre
from tests.unit.edge.slices import enrolled
from tests.unit.vpn.ground import Ground


def test_without_a_tunnel_nothing_is_sent_to_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(centre, "INTERFACE", "no-tunnel")
    monkeypatch.setattr(Centre, "_stream", lambda _centre, _method, url, *_: begun.append(url))
    state = enrolled(tmp_path, Ground(tmp_path), inside=["192.0.2.1", "2001:db8::1"]).current
    assert state is not None

    async def asked() -> None:
        async with Centre(state) as one:
            await one.slice("", 0)

    with pytest.raises(UnavailableError) as told:
        asyncio.run(asked())
    assert told.value.error_id == "centre_away"
    assert begun == []


def test_the_machine_itself_needs_no_tunnel() -> None:
    centre._leads_there("127.0.0.1", 9)
    centre._leads_there("::1", 9)
