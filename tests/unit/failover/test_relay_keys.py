"""Keys of a session say nothing of each other's."""

from __future__ import annotations

import pytest

from appliance.failover.relay.keys import KEY, NAME, NONCE, SessionKeys, SiteKeys


def test_every_key_is_another() -> None:
    key, other = bytes(range(KEY)), bytes(KEY)
    nonce, drawn_anew = bytes(NONCE), b"\1" * NONCE
    sites = [SiteKeys.of(each) for each in (key, other)]
    sessions = [
        SessionKeys.of(each, epoch, drawn) for each in (key, other) for epoch in (1, 2) for drawn in (nonce, drawn_anew)
    ]
    all_of_them = [part for site in sites for part in (site.edge, site.centre)]
    all_of_them += [part for session in sessions for part in (session.up, session.down)]
    assert len(set(all_of_them)) == len(all_of_them) == 20
    assert {len(part) for part in all_of_them} == {KEY}
    assert len({site.name for site in sites}) == 2
    assert {len(site.name) for site in sites} == {NAME}
    assert not any(site.name in part for site in sites for part in all_of_them)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        SiteKeys.of(bytes(length))
