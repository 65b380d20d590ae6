"""The engine root: built by mmdebstrap from its definition, cached by the definition's hash.

``python -m appliance.engine.root build [--from-archive FILE]``
    build it unless it is there; print its path
``python -m appliance.engine.root archive FILE``
    pack the packages that it was made of, so that it can be built again when the mirror has moved on
``python -m appliance.engine.root path | manifest``
    where it is; what is in it
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape

from appliance.core.errors import CentralinoError, NotFoundError, UnavailableError
from appliance.engine import archive
from appliance.engine.definition import (
    Definition,
    Manifest,
    check_asterisk,
    check_release,
    parse_release,
)
from appliance.engine.mirror import find_mirror
from appliance.engine.processes import Interrupted, interruptible
from appliance.engine.progress import Steps
from appliance.engine.runner import CommandError, run
from appliance.engine.trim import size_mb, tree_hash, trim
from appliance.paths import Paths

BUILD_TIMEOUT_S = 1800.0
_LIBRARY_PATH = "usr/lib/*-linux-gnu*/asterisk/modules"
_STEPS = {
    "running apt-get update": "Reading the mirror's package lists",
    "downloading packages": "Downloading the packages",
    "extracting archives": "Unpacking the packages",
    "creating tarball": "Handing over the tree",
}
_UNREACHABLE = (
    "Could not resolve", "Temporary failure resolving", "Could not connect", "Connection failed", "Connection refused",
    "Unable to connect", "Network is unreachable", "connection timed out", "No route to host", "404  Not Found",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EngineRoot:
    """A built root: ``path`` is its file system, ``manifest`` says what is in it."""

    path: Path
    manifest: Manifest

    @property
    def packages(self) -> Path:
        """The packages it was made of."""
        return self.path.parent / "packages"

    @property
    def modules(self) -> Path:
        """Directory of Asterisk's modules, on the host."""
        return next(iter(self.path.glob(_LIBRARY_PATH)))


def load_definition(paths: Paths) -> Definition:
    """:raises CorruptError: the definition can't be used."""
    return Definition.parse((paths.engine_definition / "definition.toml").read_text())


def find_root(paths: Paths) -> EngineRoot:
    """The built root of the current definition.

    :raises NotFoundError: ``engine_root_missing``: it isn't built yet.
    """
    place = paths.engine_cache / load_definition(paths).name
    try:
        return EngineRoot(place / "root", Manifest.loads((place / "manifest.json").read_text()))
    except FileNotFoundError as error:
        raise NotFoundError(
            "the engine root isn't built", "build it: make engine", error_id="engine_root_missing"
        ) from error


def ensure_root(paths: Paths, *, from_archive: Path | None = None, console: Console | None = None) -> EngineRoot:
    """The engine root, built if it isn't there; concurrent callers wait for the one that builds.

    A build that is killed leaves nothing but a directory that the next one removes.

    :raises UnavailableError: mirror out of reach or stale, a needed program missing.
    :raises RefusedError: ``engine_version``: the mirror's Asterisk is not one we take.
    """
    try:
        return find_root(paths)
    except NotFoundError:
        definition = load_definition(paths)
    with _locked(paths.engine_cache, console):
        try:
            return find_root(paths)
        except NotFoundError:
            return _build(paths, definition, from_archive, console)


@contextmanager
def _locked(cache: Path, console: Console | None) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if console:
                console.print("Another process builds the engine root: waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(paths: Paths, definition: Definition, source: Path | None, console: Console | None) -> EngineRoot:
    began = time.monotonic()
    for left_over in paths.engine_cache.glob("building-*"):
        shutil.rmtree(left_over, ignore_errors=True)  # a killed build's mmdebstrap may still write to it
    work = paths.engine_cache / f"building-{os.getpid()}"
    work.mkdir()
    try:
        with Steps(console) as steps:
            manifest = _make(work, definition, source, steps, began)
            steps.step("Writing it to disk")
            (work / "manifest.json").write_text(manifest.dumps())
            os.sync()
            place = paths.engine_cache / definition.name
            work.rename(place)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return EngineRoot(place / "root", manifest)


def _make(work: Path, definition: Definition, source: Path | None, steps: Steps, began: float) -> Manifest:
    root, packages = work / "root", work / "packages"
    if source is None:
        sources, include = [find_mirror()], list(definition.packages)
    else:
        steps.step(f"Checking the archive {source.name}")
        include = archive.unpack(source, work / "archive", definition)
        sources = [f"deb [trusted=yes] copy://{quote(str((work / 'archive').absolute()))} ./"]
    _mmdebstrap(definition, root, sources, include, steps)
    steps.step("Checking versions")
    if source is None:
        release_file = next((root / "var/lib/apt/lists").glob("*Release"))
        release = parse_release(release_file.read_text(errors="replace"))
        limit = int(os.environ.get("CENTRALINO_MIRROR_MAX_OVERDUE_DAYS", definition.max_overdue_days))
        check_release(release, datetime.now(UTC), limit)
        release_date = release.date.isoformat()
    else:
        release_date = archive.read_manifest(source).release_date
    (root / "var/cache/apt/archives").rename(packages)
    listed = archive.list_packages(packages)
    versions = {each.name: each.version for each in listed}
    check_asterisk(versions["asterisk"], definition.accept_asterisk)
    steps.step("Trimming")
    shutil.rmtree(root / "var/lib/apt")
    before = size_mb(root)
    trim(root, definition)
    steps.step("Trying the programs")
    try_programs(root)
    shutil.rmtree(work / "archive", ignore_errors=True)
    return Manifest(
        name=definition.name,
        digest=definition.digest,
        suite=definition.suite,
        asterisk=versions["asterisk"],
        janus=versions["janus"],
        release_date=release_date,
        source="mirror" if source is None else "archive",
        tree=tree_hash(root),
        size_untrimmed_mb=before,
        size_mb=size_mb(root),
        download_mb=round(sum(each.size for each in listed) / 1e6, 1),
        build_s=round(time.monotonic() - began, 1),
        packages=listed,
    )


def _mmdebstrap(definition: Definition, root: Path, sources: list[str], include: list[str], steps: Steps) -> None:
    """Unpack the packages and what they depend on; no script of theirs runs (variant ``extract``)."""
    as_root = os.geteuid() == 0
    target = root if as_root else root.with_suffix(".tar")
    installed = root.with_name("status")
    installed.write_text(assumed_installed(definition, run(["dpkg", "--print-architecture"]).output.strip()))
    argv = [
        "mmdebstrap",
        f"--setup-hook=copy-in {shlex.quote(str(installed))} /var/lib/dpkg/", f"--mode={'root' if as_root else _user_mode()}", f"--format={'directory' if as_root else 'tar'}",
        "--variant=extract", "--skip=cleanup/apt,output/dev", f"--include={','.join(include)}",
        f"--components={','.join(definition.components)}",
        '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "2"',
        '--aptopt=Acquire::http::Timeout "20"', '--aptopt=Acquire::https::Timeout "20"',
        *_apt_proxies(), definition.suite if len(sources) == 1 else "", str(target), *sources,
    ]  # fmt: skip
    steps.step("Starting mmdebstrap")

    def follow(line: str) -> None:
        for sign, text in _STEPS.items():
            if line.startswith(f"I: {sign}"):
                steps.step(text)

    umask = os.umask(0o022)
    try:
        run(argv, timeout_s=BUILD_TIMEOUT_S, on_line=follow)
    except CommandError as error:
        raise _explain(error, sources) from error
    finally:
        os.umask(umask)
    if not as_root:
        root.mkdir()
        run(
            ["tar", "--extract", "--no-same-owner", f"--file={target}", f"--directory={root}"],
            timeout_s=BUILD_TIMEOUT_S,
        )
        target.unlink()


def assumed_installed(definition: Definition, architecture: str) -> str:
    """dpkg's status file that makes apt take the packages of ``[without]`` as installed, in any version it may want."""
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: 9999\nArchitecture: {architecture}\n"
        f"Multi-Arch: same\nMaintainer: nobody\nDescription: {reason}\n"
        for name, reason in definition.without.items()
    )


def _user_mode() -> str:
    """How mmdebstrap may work without being root.

    :raises UnavailableError: ``userns_missing``.
    """
    if shutil.which("unshare") and run(["unshare", "--user", "--map-root-user", "true"], check=False).exit_code == 0:
        return "unshare"
    raise UnavailableError(
        "building the engine root as an ordinary user needs user namespaces, which this kernel refuses",
        "run it as root (sudo make engine), or allow them: sysctl kernel.unprivileged_userns_clone=1",
        error_id="userns_missing",
    )


def _apt_proxies() -> list[str]:
    """The host's apt may need a proxy; mmdebstrap's own apt doesn't read the host's settings."""
    config = run(["apt-config", "dump", "--format", "%F %V%n", "Acquire::http::Proxy"], check=False).output
    config += run(["apt-config", "dump", "--format", "%F %V%n", "Acquire::https::Proxy"], check=False).output
    pairs = [line.split(maxsplit=1) for line in config.splitlines()]
    return [f'--aptopt={pair[0]} "{pair[1]}"' for pair in pairs if len(pair) == 2]


def _explain(error: CommandError, sources: list[str]) -> CentralinoError:
    output = error.completed.output
    said = next((line for line in output.splitlines() if line.startswith(("E:", "Err:", "W: Failed"))), "")
    if any(sign in output for sign in _UNREACHABLE):
        return UnavailableError(
            f"the Debian mirror {sources[0]} can't be reached: {said}",
            "check the network, take another mirror (CENTRALINO_MIRROR=URL), "
            "or build without one from an archive (make engine ARCHIVE=file)",
            error_id="mirror_unreachable",
        )
    if "/etc/subuid" in output or "newuidmap" in output:
        return UnavailableError(
            f"an ordinary user may build the engine root only with subordinate user ids: {said}",
            "run it as root (sudo make engine), or: apt install uidmap; usermod --add-subuids 200000-265535 "
            "--add-subgids 200000-265535 YOU",
            error_id="userns_missing",
        )
    return UnavailableError(
        f"mmdebstrap couldn't build the engine root: {said or error.completed.tail}",
        "the whole output is logged with --debug; an archive builds without a mirror (make engine ARCHIVE=file)",
        error_id="engine_build_failed",
    )


def try_programs(root: Path) -> None:
    """Run the trimmed root's programs as far as their version, so that a library trimmed too much shows here.

    :raises CommandError: one doesn't run.
    """
    for program in (["/usr/sbin/asterisk", "-V"], ["/usr/bin/janus", "--version"], ["/usr/bin/setpriv", "--version"]):
        sandbox = ["bwrap", "--ro-bind", str(root), "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all"]
        run([*sandbox, "--die-with-parent", "--clearenv", *program], timeout_s=20)


def main(argv: list[str] | None = None) -> int:
    """Entry of ``python -m appliance.engine.root``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="engine", description="The engine root: build, archive, look.")
    parser.add_argument("--debug", action="store_true", help="log every command and show tracebacks")
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="build the root unless it is there")
    build.add_argument("--from-archive", type=Path, metavar="FILE", help="without a mirror, from this archive")
    verbs.add_parser("archive", help="pack the root's packages").add_argument("file", type=Path)
    verbs.add_parser("path", help="print where the root is")
    verbs.add_parser("manifest", help="print what is in it")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.WARNING, format="%(message)s")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with interruptible():
            sys.stdout.write(_do(options, Paths.default(), console) + "\n")
    except Interrupted:
        return 130
    except CentralinoError as error:
        if options.debug:
            raise
        console.print(f"[red]error:[/] {escape(error.message)}")
        if error.hint:
            console.print(f"[dim]hint:[/] {escape(error.hint)}")
        return 1
    return 0


def _do(options: argparse.Namespace, paths: Paths, console: Console) -> str:
    if options.verb == "build":
        root = ensure_root(paths, from_archive=options.from_archive, console=console)
        told = root.manifest
        console.print(
            f"Engine root: Asterisk {told.asterisk}, Janus {told.janus}; {told.size_mb:.0f} MB "
            f"(before trimming {told.size_untrimmed_mb:.0f} MB, downloaded {told.download_mb:.0f} MB)"
        )
        return str(root.path)
    root = find_root(paths)
    if options.verb == "archive":
        archive.pack(root.packages, root.manifest, options.file)
        return str(options.file)
    return str(root.path) if options.verb == "path" else root.manifest.dumps().rstrip()


if __name__ == "__main__":
    sys.exit(main())
