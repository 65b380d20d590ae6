"""Bans that an edge takes from the centre: what is in force, what is left out, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import CorruptError
from appliance.edge.bans import LONGEST_S, read, spared
from appliance.firewall.bans.asking import SHARED_MAX
from tests.unit.edge.slices import a_slice

NOW = 1_795_780_800


def listed(*networks: str, until: int = NOW + 600) -> bytes:
    return json.dumps({"format": 1, "bans": [{"network": each, "until": until} for each in networks]}).encode()


def test_strangers_are_kept_out_until_their_time_is_over() -> None:
    bans = read(listed("203.0.113.7/32", "198.51.100.0/24", "2001:db8:66::/64", "2001:db8:77::/56"), (), NOW)
    assert [str(ban.network) for ban in bans] == [
        "203.0.113.7/32", "198.51.100.0/24", "2001:db8:66::/64", "2001:db8:77::/56",
    ]  # fmt: skip
    assert {(ban.since, ban.until) for ban in bans} == {(0, 600_000)}
    assert read(listed("203.0.113.7/32"), (), NOW + 600) == ()
    [late] = read(listed("203.0.113.7/32"), (), NOW - 10**9)
    assert late.until == 1000 * LONGEST_S, "whatever the edge's clock says, no ban lasts longer than the longest"


@pytest.mark.parametrize(
    "network",
    [
        "198.51.100.7/32", "198.51.100.0/24", "10.3.0.9/32", "2001:db8:3::/64", "2001:db8:3::/56",  # centre and site
        "192.168.1.1/32", "100.64.0.9/32", "127.0.0.1/32", "fd12::/64", "fe80::/64", "224.0.0.0/24",
    ],
)  # fmt: skip
def test_what_would_cut_off_the_edge_or_means_somebody_else_here_is_left_out(network: str) -> None:
    bans = read(listed(network, "203.0.113.7/32"), spared(a_slice()), NOW)
    assert [str(ban.network) for ban in bans] == ["203.0.113.7/32"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b'{"format":1}', b'{"format":2,"bans":[]}', b'{"format":1,"bans":[7]}', b"\xff",
        b'{"format":1,"bans":[{"network":"203.0.113.7","until":"x"}]}', b"[" * 100_000,
        listed("203.0.113.0/23"), listed("203.0.113.7/24"), listed("::/0"), listed("nobody"),
        listed("203.0.113.7/32", until=None),  # type: ignore[arg-type]
        listed(*["203.0.113.7/32"] * (SHARED_MAX + 1)),
    ],
)  # fmt: skip
def test_garbage_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(CorruptError) as refused:
        read(content, (), NOW)
    assert refused.value.error_id == "bans_garbled"


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_no_answer_is_too_odd(plain: Any) -> None:
    for content in (json.dumps(plain), json.dumps({"format": 1, "bans": plain})):
        try:
            read(content.encode(), (), NOW)
        except CorruptError:
            continue
        assert json.loads(content)["bans"] == []
