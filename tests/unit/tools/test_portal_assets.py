"""What browsers get that isn't ours is locked by a hash, of one version, and comes from no address of its own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).parents[3]
ASSETS = TOP / "appliance/console/portal/assets"
STATIC = TOP / "appliance/console/portal/static"


def test_packages_are_locked_by_hash_to_one_version() -> None:
    wanted = json.loads((ASSETS / "package.json").read_text())["dependencies"]
    locked = json.loads((ASSETS / "package-lock.json").read_text())["packages"]
    assert set(locked) == {"", *(f"node_modules/{name}" for name in wanted)}
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
        assert locked[f"node_modules/{name}"]["integrity"].startswith("sha512-")
        assert "resolved" not in locked[f"node_modules/{name}"]
    assert "--hash=sha256:" in (ASSETS / "npm.lock").read_text()


def test_what_is_built_isn_t_kept_in_the_repository() -> None:
    kept = subprocess.run(["git", "ls-files", STATIC], capture_output=True, text=True, cwd=TOP, check=True, timeout=60)
    assert not [name for name in kept.stdout.splitlines() if "/vendor/" in name]


def test_pages_load_nothing_from_elsewhere_and_hold_no_script_or_style() -> None:
    """What the policy of every answer refuses: it would be dead code at best."""
    for page in (TOP / "appliance").rglob("templates/**/*.html"):
        text = page.read_text()
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", text), page
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text), page
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), page
    for sheet in STATIC.glob("*.css"):
        assert not re.search(r"@import|url\([\"']?(?:https?:)?//", sheet.read_text()), sheet
