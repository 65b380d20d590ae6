"""Building the engine root when the mirror is good, stale, wrong or away; from local mirrors made of the root's packages."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from appliance.core.errors import CentralinoError, RefusedError, UnavailableError
from appliance.engine import archive
from appliance.engine.root import EngineRoot, ensure_root, find_root, load_definition
from appliance.paths import Paths
from tests.hil.agents.process import Child, eventually

DOWNLOAD: Final = "Downloading the packages"
GOOD: Final = timedelta(days=7)


@pytest.fixture(scope="module")
def root() -> EngineRoot:
    return ensure_root(Paths.default())


@pytest.fixture(scope="module")
def index(root: EngineRoot) -> str:
    """What the mirror's list of packages says of each."""
    entries = []
    for package in root.manifest.packages:
        control = subprocess.run(
            ["dpkg-deb", "--field", str(root.packages / package.file)], check=True, capture_output=True, text=True
        ).stdout.rstrip()
        entries.append(f"{control}\nFilename: pool/{package.file}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    return "\n".join(entries)


def mirror(root: EngineRoot, index: str, place: Path, until: timedelta) -> str:
    """A Debian mirror with these packages whose Release file is valid for so long; what CENTRALINO_MIRROR says of it."""
    release, lists = place / "dists/sid", place / "dists/sid/main/binary-amd64"
    lists.mkdir(parents=True)
    (place / "pool").symlink_to(root.packages)
    (lists / "Packages").write_text(index)
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    now = datetime.now(UTC)
    dates = {"Date": min(now, now + until - GOOD), "Valid-Until": now + until}
    head = "".join(
        f"{key}: {format_datetime(date, usegmt=True).replace('GMT', 'UTC')}\n" for key, date in dates.items()
    )
    (release / "Release").write_text(
        f"Suite: sid\nCodename: sid\n{head}Architectures: amd64\nComponents: main\n"
        f"SHA256:\n {digest} {size} main/binary-amd64/Packages\n"
    )
    return f"deb [trusted=yes] copy://{place} sid main"


def paths_in(work: Path) -> Paths:
    return Paths(state=work / "state", cache=work / "cache")


def refusal(paths: Paths) -> tuple[CentralinoError, str]:
    """The error of a build, and what it showed."""
    shown = io.StringIO()
    with pytest.raises(CentralinoError) as caught:
        ensure_root(paths, console=Console(file=shown))
    return caught.value, shown.getvalue()


def test_a_stale_mirror_is_refused_before_anything_is_downloaded(
    root: EngineRoot, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CENTRALINO_MIRROR", mirror(root, index, tmp_path / "mirror", timedelta(days=-400)))
    error, shown = refusal(paths_in(tmp_path))
    assert isinstance(error, UnavailableError)
    assert error.error_id == "mirror_stale"
    assert "400 days ago" in error.message
    assert DOWNLOAD not in shown
    assert [each.name for each in paths_in(tmp_path).engine_cache.iterdir()] == ["lock"]


def test_an_asterisk_that_we_do_not_take_is_refused_before_anything_is_downloaded(
    root: EngineRoot, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = f"Version: {root.manifest.asterisk}\n"
    assert version in index
    other = index.replace(version, "Version: 1:23.1.0~dfsg-1\n")
    monkeypatch.setenv("CENTRALINO_MIRROR", mirror(root, other, tmp_path / "mirror", GOOD))
    error, shown = refusal(paths_in(tmp_path))
    assert isinstance(error, RefusedError)
    assert error.error_id == "engine_version"
    assert "1:23.1.0~dfsg-1" in error.message
    assert DOWNLOAD not in shown


@pytest.mark.slow
def test_what_was_kept_builds_the_root_when_the_mirror_has_moved_on(
    root: EngineRoot, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = archive.keep(root.packages, root.manifest, tmp_path / "shared")
    some = root.manifest.packages[0].file
    assert (kept / "packages" / some).read_bytes() == (root.packages / some).read_bytes()
    monkeypatch.setenv("CENTRALINO_ENGINE_ARCHIVES", str(tmp_path / "shared"))
    monkeypatch.setenv("CENTRALINO_MIRROR", mirror(root, index, tmp_path / "mirror", timedelta(days=-400)))
    paths, shown = paths_in(tmp_path), io.StringIO()
    built = ensure_root(paths, console=Console(file=shown, width=300))
    assert "expired 400 days ago" in shown.getvalue()
    assert f"Building from packages that were kept: {kept}" in shown.getvalue()
    assert (built.manifest.tree, built.manifest.source) == (root.manifest.tree, "archive")


@pytest.mark.slow
def test_a_build_that_was_killed_and_two_at_once_and_what_they_keep(
    root: EngineRoot, index: str, tmp_path: Path
) -> None:
    paths = paths_in(tmp_path)
    environment = {
        "CENTRALINO_MIRROR": mirror(root, index, tmp_path / "mirror", GOOD),
        "CENTRALINO_STATE": str(paths.state), "CENTRALINO_CACHE": str(paths.cache),
    }  # fmt: skip

    def build(name: str) -> Child:
        return Child([sys.executable, "-m", "appliance.engine.root", "build"], tmp_path / name, env=environment)

    killed = build("killed")
    eventually(lambda: "Unpacking the packages" in killed.text(), "it unpacks", 120)
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.wait()
    assert list(paths.engine_cache.glob("building-*"))
    with pytest.raises(CentralinoError):
        find_root(paths)
    one, two = build("one"), build("two")
    assert (one.wait(300), two.wait(300)) == (0, 0), one.text() + two.text()
    assert sorted("waiting for it" in each.text() for each in (one, two)) == [False, True]
    built = find_root(paths)
    assert built.manifest.tree == root.manifest.tree
    assert {each.name for each in paths.engine_cache.iterdir()} == {"lock", built.manifest.name}
    (kept,) = paths.engine_archives.iterdir()
    assert archive.fitting(paths.engine_archives, load_definition(paths), "amd64") == kept
    assert archive.fitting(paths.engine_archives, load_definition(paths), "arm64") is None
    some = built.manifest.packages[0].file
    assert (kept / "packages" / some).samefile(built.packages / some), "it takes no more room"


def test_the_password_of_a_mirror_stays_off_command_lines_and_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Closed(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if b"geheim" in process.read_bytes():
                        seen.append(process.read_text())
                except OSError:
                    continue
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CENTRALINO_MIRROR", f"http://someone:geheim@127.0.0.1:{server.server_port}/debian")
        error, shown = refusal(paths_in(tmp_path))
        server.shutdown()
    assert "Basic c29tZW9uZTpnZWhlaW0=" in seen, "it was asked with the password"
    assert not [each for each in seen if "geheim" in each]
    assert error.error_id == "mirror_unreachable"
    assert "geheim" not in error.message + shown
    assert "http://•••@127.0.0.1" in error.message
