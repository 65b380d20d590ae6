from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.mirror import find_mirror, parse_sources, proxy_environment, redacted, userinfo

MIRROR = "http://mirror.example.com/debian"
ONE_LINE = f"""\
# deb http://old.example.com/debian bookworm main
deb-src {MIRROR} bookworm main
deb http://security.example.com/debian-security bookworm-security main
deb https://packages.example.com/apt stable main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] {MIRROR} bookworm main contrib # ours
"""
DEB822 = f"""\
# ours
Types: deb
URIs: {MIRROR}
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example.com/debian-security
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example.com/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://source.example.com/debian
Suites: trixie
Components: main
"""


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("sources.list", ONE_LINE, [MIRROR]),
        ("debian.sources", DEB822, [MIRROR]),
        ("debian.sources", DEB822.replace("URIs: " + MIRROR, f"URIs:\n {MIRROR}\n http://b.example.com/debian/"),
         [MIRROR, "http://b.example.com/debian/"]),
        ("sources.list", "deb cdrom:[Debian]/ bookworm main\n", []),
        ("empty.sources", "", []),
    ],
)  # fmt: skip
def test_the_main_archive_is_found(name: str, text: str, found: list[str]) -> None:
    assert parse_sources(name, text) == found


def test_the_host_is_asked_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CENTRALINO_MIRROR", raising=False)
    with pytest.raises(UnavailableError, match="names no Debian archive") as caught:
        find_mirror(tmp_path)
    assert "CENTRALINO_MIRROR" in caught.value.hint
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    assert find_mirror(tmp_path) == MIRROR
    monkeypatch.setenv("CENTRALINO_MIRROR", "http://127.0.0.1/debian")
    assert find_mirror(tmp_path) == "http://127.0.0.1/debian"


def test_passwords_in_addresses_are_not_shown() -> None:
    text = "Err:1 http://me:geheim@a.example.com/debian sid, http://b.example.com/x@y"
    assert redacted(text) == "Err:1 http://•••@a.example.com/debian sid, http://b.example.com/x@y"
    assert (userinfo(text), userinfo("http://b.example.com/x@y")) == ("me:geheim", "")


@pytest.mark.parametrize(
    ("mirror", "proxy"),
    [
        ("http://deb.example.com/debian", {"http_proxy": "http://me:geheim@proxy:3142"}),
        ("http://near.example.com:80/debian", {}),
        ("http://x:y@near.example.com/debian", {}),
        ("deb [trusted=yes] copy:///somewhere ./", {"http_proxy": "http://me:geheim@proxy:3142"}),
    ],
)
def test_the_proxy_is_apt_s_own_for_that_host(
    mirror: str, proxy: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt-config").write_text(
        '#!/bin/sh\n[ "$4" = Acquire::http::Proxy ] || exit 0\n'
        'echo "Acquire::http::Proxy http://me:geheim@proxy:3142"\n'
        'echo "Acquire::http::Proxy::near.example.com DIRECT"\n'
    )
    (tmp_path / "apt-config").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert proxy_environment(mirror) == proxy
