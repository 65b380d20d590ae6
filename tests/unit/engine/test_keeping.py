"""Keepers of daemons tell what they can't do now, and go on."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.keeping import telling, text_of
from appliance.i18n import fault_text, speaking


@pytest.mark.parametrize(
    ("error", "told", "italian"),
    [
        (UnavailableError("openvpn is not installed", "apt install openvpn"), "openvpn is not installed (apt install openvpn)", "openvpn non è installato"),
        (OSError(errno.ENOSPC, "No space left on device", "/var/x"), "no space left for /var/x (free space", "non c'è più spazio per /var/x (libera "),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/var/x"), "/var/x: Is a directory (check its owner", "/var/x: Is a directory (controllane"),
        (KeyError("torino"), "a mistake of ours: KeyError (what runs goes on", "un errore nostro: KeyError"),
    ],
)  # fmt: skip
def test_what_fails_is_told_with_what_to_do_in_both_languages_and_hinders_nothing_else(
    error: Exception, told: str, italian: str, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[str] = []
    for _ in range(2):
        with telling(found):
            raise error
    assert len(found) == 2
    assert found[0].startswith(told)
    assert caplog.text.count("Traceback") == (1 if isinstance(error, KeyError) else 0), "our own once, for the log"
    speaking("it")
    try:
        assert fault_text(found[0]).startswith(italian)
    finally:
        speaking("")


def test_a_file_that_can_not_be_read_is_to_be_written_anew(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\xff\xfe\x00garbage")
    (tmp_path / "directory").mkdir()
    assert [text_of(tmp_path / name) for name in ("garbage", "directory", "none")] == ["", "", ""]
