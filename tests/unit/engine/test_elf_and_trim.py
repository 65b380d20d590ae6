from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.core.errors import CorruptError
from appliance.engine.definition import Definition
from appliance.engine.elf import closure, needed
from appliance.engine.trim import kept_files, tree_hash, trim

DEFINITION = """
suite = "sid"
components = []
accept_asterisk = ">=22"
max_overdue_days = 1
[packages]
[without]
[keep]
"usr/bin/kept" = "needed"
"usr/share/sounds/**" = "needed"
[drop]
"usr/share/sounds/*/bad*" = "not needed"
"""


def test_a_real_programs_libraries_are_read() -> None:
    names = needed(Path("/bin/sh").resolve().read_bytes())
    assert "libc.so.6" in names
    assert any(name.startswith("ld-linux") for name in names)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + b"\0" * 60])
def test_what_is_no_program_needs_nothing(data: bytes) -> None:
    assert needed(data) == []


def test_links_and_missing_libraries(tmp_path: Path) -> None:
    real = tmp_path / "libc-2.so"
    real.write_bytes(b"")
    link = tmp_path / "libc.so.6"
    link.symlink_to("libc-2.so")
    found, missing = closure([Path(sys.executable).resolve(), Path("/bin/sh").resolve()], {"libc.so.6": link})
    assert found == {real, link}
    assert any(name.startswith("ld-linux") for name in missing)


def tree(top: Path) -> Path:
    for name in (
        "usr/bin/kept",
        "usr/bin/sh",
        "usr/share/sounds/it/good",
        "usr/share/sounds/it/bad1",
        "usr/share/doc/x",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "bin").symlink_to("usr/bin")
    return top


def test_only_what_is_named_stays(tmp_path: Path) -> None:
    definition = Definition.parse(DEFINITION)
    root = tree(tmp_path)
    trim(root, definition)
    files = {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file() and "etc" not in each.parts}
    assert {each for each in files if each.startswith("usr")} == {"usr/bin/kept", "usr/share/sounds/it/good"}
    assert (root / "bin").is_symlink()
    assert not (root / "usr/share/doc").exists()
    assert "asterisk:x:45060:45060" in (root / "etc/passwd").read_text()
    assert (root / "var/spool/asterisk-cel").is_dir()


def test_a_pattern_without_match_is_told(tmp_path: Path) -> None:
    definition = Definition.parse(DEFINITION.replace("usr/bin/kept", "usr/bin/gone"))
    with pytest.raises(CorruptError, match="'usr/bin/gone'"):
        kept_files(tree(tmp_path), definition)


def test_equal_trees_have_equal_hashes(tmp_path: Path) -> None:
    first, second = tree(tmp_path / "1"), tree(tmp_path / "2")
    assert tree_hash(first) == tree_hash(second)
    (second / "usr/bin/kept").write_text("other")
    assert tree_hash(first) != tree_hash(second)
