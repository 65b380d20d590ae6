"""Sealed secrets and their key file."""

from __future__ import annotations

import os
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.document import Document
from appliance.core.errors import CentralinoError, CorruptError, NotFoundError
from appliance.organisation.model import Secret
from appliance.store import Keyring

KEY = bytes(range(32))


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens(text: str) -> None:
    keyring = Keyring(Path("key"), [KEY])
    sealed = keyring.seal("desk", text)
    assert keyring.open("desk", sealed) == text
    assert Secret(id="desk", value=sealed).value == sealed


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "Q"),
        lambda text: text[:40],
        lambda text: text[:12],
        lambda text: "sealed:v2:" + text[10:],
        lambda _: "sealed:v1:",
        lambda _: "sealed:v1:é",
        lambda _: "",
    ],
)
def test_damage_is_found_and_names_the_secret(change: object) -> None:
    keyring = Keyring(Path("key"), [KEY])
    sealed = keyring.seal("desk", "a password of 16+")
    with pytest.raises(CorruptError, match="secret/desk") as caught:
        keyring.open("desk", change(sealed))  # type: ignore[operator]
    assert caught.value.error_id == "bad_key"


def test_another_id_or_another_key_does_not_open_it() -> None:
    keyring = Keyring(Path("key"), [KEY])
    sealed = keyring.seal("desk", "hunter2")
    with pytest.raises(CorruptError, match="secret/dect"):
        keyring.open("dect", sealed)
    with pytest.raises(CorruptError, match="secret/desk"):
        Keyring(Path("key"), [bytes(32)]).open("desk", sealed)


def test_the_key_file_is_private_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret.key"
    previous = os.umask(0)
    try:
        with ThreadPoolExecutor(8) as pool:
            rings = list(pool.map(lambda _: Keyring.load_or_create(path), range(16)))
    finally:
        os.umask(previous)
    assert len({ring.fingerprint for ring in rings}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    Keyring.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(CorruptError, match=f"{mode:04o}") as caught:
        Keyring.load_or_create(path)
    assert caught.value.error_id == "key_exposed"
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 32, b"centralino-key:v1:AAAA\n", b"\xff\xfe", b"centralino-key:v1:" + b"A" * 43 + b"\n\n"],
)
def test_a_garbage_key_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CorruptError, match="damaged"):
        Keyring.load_or_create(path)
    assert path.read_bytes() == content


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="key file"):
        Keyring.load(tmp_path / "key")


def test_rotation_seals_with_the_new_key_and_still_opens_the_old(tmp_path: Path) -> None:
    keyring = Keyring.load_or_create(tmp_path / "key")
    old = keyring.fingerprint
    document = Document.of([Secret(id="desk", value=keyring.seal("desk", "hunter2")), Secret(id="none")])
    keyring.rotate()
    assert keyring.fingerprint != old
    assert keyring.reveal(document) == {"desk": "hunter2"}
    renewed = keyring.reseal(document)
    assert [item.id for item in renewed] == ["desk"]
    loaded = Keyring.load(tmp_path / "key")
    assert loaded.reveal(document.with_changes(renewed)) == {"desk": "hunter2"}
    assert loaded.reseal(document.with_changes(renewed)) == []
    assert loaded.knows(old)


def test_neither_key_nor_clear_text_shows_anywhere(tmp_path: Path) -> None:
    keyring = Keyring.load_or_create(tmp_path / "key")
    key = (tmp_path / "key").read_text().strip().rpartition(":")[2]
    sealed = keyring.seal("desk", "hunter2-clear")
    secret = Secret(id="desk", value=sealed)
    shown = [
        repr(keyring),
        str(keyring),
        repr(keyring.__dict__["_sealers"]),
        repr(secret),
        str(secret),
        repr(Document.of([secret])),
    ]
    try:
        keyring.open("dect", sealed)
    except CentralinoError as error:
        shown += [str(error), error.hint, repr(error), "".join(traceback.format_exception(error))]
    for text in shown:
        assert key not in text
        assert "hunter2" not in text
        assert sealed not in text
