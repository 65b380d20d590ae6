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

from appliance.core.errors import CentralinoError, CorruptError, NotFoundError, RefusedError, UnavailableError
from appliance.engine import archive
from appliance.engine.definition import (
    Definition,
    Manifest,
    check_asterisk,
    check_release,
    parse_release,
)
from appliance.engine.mirror import find_mirror, proxy_environment, redacted, userinfo
from appliance.engine.processes import Interrupted, interruptible
from appliance.engine.progress import Steps
from appliance.engine.runner import CommandError, run
from appliance.engine.trim import size_mb, tree_hash, trim
from appliance.paths import Paths

_log = logging.getLogger("centralino.engine")

BUILD_TIMEOUT_S = 1800.0
_MIRROR_IS_NO_GOOD = {
    "mirror_unreachable", "mirror_stale", "mirror_unknown", "engine_version", "engine_build_failed", "engine_definition",
}  # fmt: skip
_SIGNED_BY = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
_SAYS = "centralino: "
_LOOK_FIRST = (
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; apt-get update && '
    f"sed -n 's/^\\(Suite\\|Date\\|Valid-Until\\): /{_SAYS}&/p' \"$1\"/var/lib/apt/lists/*Release && "
    f"apt-cache policy asterisk | sed -n 's/^ *Candidate:/{_SAYS}asterisk/p'"
)
"""Hook of mmdebstrap: tells the mirror's date and its Asterisk before anything large is downloaded."""
_LIBRARY_PATH = "usr/lib/*-linux-gnu*/asterisk/modules"
_STEPS = {
    "running --setup-hook in shell": "Reading the mirror's package lists",
    "running apt-get update": "Reading the mirror's package lists",
    "downloading packages": "Downloading the packages",
    "extracting archives": "Unpacking the packages",
    "creating tarball": "Handing over the tree",
}
_UNREACHABLE = (
    "Could not resolve", "Temporary failure resolving", "Could not connect", "Connection failed", "Connection refused",
    "Unable to connect", "Network is unreachable", "connection timed out", "No route to host", "404  Not Found",
    "does not have a Release file",
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
            if from_archive is not None:
                return _build(paths, definition, from_archive, console)
            return _build_somehow(paths, definition, console)


def _build_somehow(paths: Paths, definition: Definition, console: Console | None) -> EngineRoot:
    """From the mirror, and keep its packages; from packages that were kept before when the mirror is no good."""
    try:
        built = _build(paths, definition, None, console)
    except (UnavailableError, RefusedError, CorruptError) as error:
        kept = archive.fitting(paths.engine_archives, definition, _architecture())
        if error.error_id not in _MIRROR_IS_NO_GOOD or kept is None:
            raise
        if console:
            console.print(f"[yellow]{escape(error.message)}[/]")
            console.print(f"Building from packages that were kept: {escape(str(kept))}")
        return _build(paths, definition, kept, console)
    try:
        archive.keep(built.packages, built.manifest, paths.engine_archives)
    except OSError as error:
        _log.warning("the engine's packages can't be kept in %s: %s", paths.engine_archives, error)
    return built


def _architecture() -> str:
    return run(["dpkg", "--print-architecture"]).output.strip()


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
    _remove_leftovers(paths)
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
            _remove_leftovers(paths)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return EngineRoot(place / "root", manifest)


def _remove_leftovers(paths: Paths) -> None:
    """What killed builds left; a dying mmdebstrap may still write to it, so before and after ours."""
    for left_over in paths.engine_cache.glob("building-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _make(work: Path, definition: Definition, source: Path | None, steps: Steps, began: float) -> Manifest:
    root, packages = work / "root", work / "packages"
    if source is None:
        where, include = find_mirror(), list(definition.packages)
    else:
        steps.step(f"Checking the archive {source.name}")
        include = archive.unpack(source, work / "archive", definition)
        where = f"deb [trusted=yes] copy://{quote(str((work / 'archive').absolute()))} ./"
    _mmdebstrap(definition, root, where, include, steps, look_first=source is None)
    steps.step("Checking versions")
    if source is None:
        release_file = next((root / "var/lib/apt/lists").glob("*Release"))
        release_date = _check_release(definition, release_file.read_text(errors="replace")).isoformat()
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


def _mmdebstrap(
    definition: Definition, root: Path, source: str, include: list[str], steps: Steps, *, look_first: bool
) -> None:
    """Unpack the packages and what they depend on; no script of theirs runs (variant ``extract``)."""
    as_root = os.geteuid() == 0
    target = root if as_root else root.with_suffix(".tar")
    installed = root.with_name("status")
    installed.write_text(assumed_installed(definition, _architecture()))
    secret = userinfo(source)
    if shutil.which("mmdebstrap") is None:
        raise UnavailableError("mmdebstrap is not installed", "apt install mmdebstrap", error_id="program_missing")
    argv = [
        "setpriv", "--pdeathsig", "TERM",  # killed, we don't leave it at work
        "mmdebstrap",
        f"--setup-hook=copy-in {shlex.quote(str(installed))} /var/lib/dpkg/", *([f"--setup-hook={_LOOK_FIRST}"] if look_first else []),
        f"--mode={'root' if as_root else _user_mode()}", f"--format={'directory' if as_root else 'tar'}",
        "--variant=extract", "--skip=cleanup/apt,output/dev", f"--include={','.join(include)}",
        f"--components={','.join(definition.components)}",
        '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "2"',
        '--aptopt=Acquire::http::Timeout "20"', '--aptopt=Acquire::https::Timeout "20"',
        definition.suite, str(target), "-" if secret else source,
    ]  # fmt: skip
    # A password on the command line could be read by anybody: such a mirror is told by standard input.
    typed = f"deb {_SIGNED_BY} {source} {definition.suite} {' '.join(definition.components)}\n" if secret else None
    steps.step("Starting mmdebstrap")
    umask = os.umask(0o022)
    try:
        environment = {**os.environ, **proxy_environment(source)}
        run(argv, timeout_s=BUILD_TIMEOUT_S, env=environment, input_text=typed, on_line=_Follower(definition, steps))
    except CommandError as error:
        raise _explain(error, source) from error
    finally:
        os.umask(umask)
    if not as_root:
        root.mkdir()
        run(
            ["tar", "--extract", "--no-same-owner", f"--file={target}", f"--directory={root}"],
            timeout_s=BUILD_TIMEOUT_S,
        )
        target.unlink()


class _Follower:
    """Reads mmdebstrap's output: shows its steps, and refuses a mirror by what :data:`_LOOK_FIRST` tells of it."""

    def __init__(self, definition: Definition, steps: Steps) -> None:
        self._definition, self._steps, self._release = definition, steps, ""
        self._shown = ""

    def __call__(self, line: str) -> None:
        for sign, text in _STEPS.items():
            if line.startswith(f"I: {sign}") and text != self._shown:
                self._shown = text
                self._steps.step(text)
        if not line.startswith(_SAYS):
            return
        told = line.removeprefix(_SAYS)
        if told.startswith("asterisk "):
            _check_release(self._definition, self._release)
            check_asterisk(told.split()[1], self._definition.accept_asterisk)
        else:
            self._release += told + "\n"


def _check_release(definition: Definition, text: str) -> datetime:
    release = parse_release(text)
    limit = int(os.environ.get("CENTRALINO_MIRROR_MAX_OVERDUE_DAYS", definition.max_overdue_days))
    check_release(release, datetime.now(UTC), limit)
    return release.date


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


def _explain(error: CommandError, source: str) -> CentralinoError:
    output = redacted(error.completed.output)
    said = next((line for line in output.splitlines() if line.startswith(("E:", "Err:", "W: Failed"))), "")
    if any(sign in output for sign in _UNREACHABLE):
        return UnavailableError(
            f"the Debian mirror {redacted(source)} can't be reached: {said}",
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
        f"mmdebstrap couldn't build the engine root: {said or redacted(error.completed.tail)}",
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
