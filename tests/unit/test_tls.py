"""Whom outgoing connections believe, by handshakes in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from appliance import tls
from tests.hil.agents.authority import Authority

HOST = "directory.example.com"


def shake_hands(client: ssl.SSLContext, certificate: Path, key: Path, version: ssl.TLSVersion) -> None:
    """:raises ssl.SSLError: the client doesn't believe, or the two have no version in common."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.maximum_version = version
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=HOST),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not ends:
            return
    raise AssertionError("the handshake doesn't end")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("signs", [True, False])
def test_an_authority_of_one_s_own_is_believed(tmp_path: Path, signs: bool, version: ssl.TLSVersion) -> None:
    authority = Authority(signs=signs)
    shake_hands(tls.context(authority.pem), *authority.issue(tmp_path, HOST), version)


def test_nobody_else_is_believed(tmp_path: Path) -> None:
    authority, newest = Authority(), ssl.TLSVersion.TLSv1_3
    own = authority.issue(tmp_path / "own", HOST)
    for trusted in (Authority().pem, None):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(tls.context(trusted), *own, newest)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        shake_hands(tls.context(authority.pem), *authority.issue(tmp_path / "other", "other.example.com"), newest)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tls.context(authority.pem), *authority.issue(tmp_path / "old", HOST, days=-1), newest)


def test_old_versions_are_refused() -> None:
    assert tls.context(None).minimum_version == ssl.TLSVersion.TLSv1_2
