"""Why the tunnel doesn't come up, by OpenVPN's own words; what it says to bad servers is shown in ``tests/hil/test_vpn_pki.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UnavailableError
from appliance.edge.agent import Agent
from appliance.edge.clock import EdgeClock, keep_system_clock
from appliance.edge.paths import EdgePaths
from appliance.edge.why import why
from appliance.i18n import fault_text, speaking

SILENCE = "TLS Error: TLS key negotiation failed to occur within 8 seconds (check your network connectivity)\n"
EXPIRED = "VERIFY ERROR: depth=0, error=certificate has expired: O=Centralino voice VPN, CN=centralino-vpn-server\n"


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("AUTH: Received control message: AUTH_FAILED\n", "the centre turns this edge away"),
        ("RESOLVE: Cannot resolve host address: vpn.example.com:1194 (Name or service not known)\n", "the name of the centre"),
        ("write UDPv4 []: Network is unreachable (fd=3,code=101)\n", "there is no way to the centre"),
        (SILENCE, "the centre is silent"),
        ("VERIFY OK: depth=0, CN=centralino-vpn-server\n" + SILENCE, "the centre answers, but doesn't take"),
        (SILENCE + EXPIRED + SILENCE, "the centre's certificate has expired"),
        (EXPIRED + "Initialization Sequence Completed\n" + SILENCE, "the centre is silent"),
        (EXPIRED + "Initialization Sequence Completed\n", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_last_attempts_are_told_in_words_with_what_to_do(log: str, told: str) -> None:
    said = why(log)
    assert said.startswith(told)
    assert bool(said) == bool(told)
    speaking("it")
    try:
        assert not told or fault_text(said) != said
    finally:
        speaking("")


@given(st.text())
def test_whatever_stands_there_it_says_something_of_ours_or_nothing(log: str) -> None:
    assert why(log) == "" or why(log).endswith(")")


def test_whoever_asks_the_edge_is_told_instead_of_that_nothing_answers(tmp_path: Path) -> None:
    paths = EdgePaths(tmp_path)
    agent = Agent(paths, EdgeClock(paths.clock, keep_system_clock))
    away = UnavailableError("the centre can't be reached through the tunnel: timed out", error_id="centre_away")
    agent._pause(away, 0)
    assert agent.told()["faults"] == [away.message]
    paths.log.mkdir(parents=True)
    (paths.log / "openvpn.log").write_text("x" * 20_000 + "\n" + EXPIRED + SILENCE)
    agent._pause(away, 1)
    [told] = agent.told()["faults"]
    assert told.startswith("the centre's certificate has expired")
