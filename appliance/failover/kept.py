"""A relay that is kept running, at either end: its holder started, told what to go by, asked how it stands, ended.

What happens when…

* the relay dies: its holder starts it again (:mod:`.relay.holder`); the holder dies: we start another, which takes over the relay;
* we are of another release than they: the holder is replaced, and two seconds later the relay, which hands its sockets over: nothing is lost;
* we die: both go on, and our successor finds them by the holder's PID file;
* the disk is full: what the relay goes by stays as it is, and we say so;
* the relay is broken into: its directory is its own, and all else isn't. Nothing that lies there is followed, waited for or believed at any length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from appliance.engine.keeping import text_of
from appliance.engine.logs import bound_ours
from appliance.engine.processes import end, held_together, note, noted, urgent
from appliance.engine.revival import Revival
from appliance.failover import relay
from appliance.failover.relay.best import KEPT, Why
from appliance.vpn.files import put

USER: Final = "centralino-relay"
"""Relays run as this user where there is one (in the image), else as nobody."""
STOP_S: Final = 4.0
HANDED_OVER_S: Final = 2.0
"""By then another holder has the sockets of the relay that it found."""
STANDING_MAX: Final = 4 << 20
SILENT_MS: Final = 2000
"""A path that is bound and on which nothing has come for so long isn't up. The rarest talks come every five seconds."""
RARE_MS: Final = 12_000
PATHS: Final = 16
"""Of a session, at most."""
OLD_S: Final = 5.0
"""A relay tells once a second how it stands; nobody believes what is older than this."""


def _release() -> str:
    """What tells the relays of two releases apart: their code."""
    made = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(relay.__file__).parent.glob("*.py")):
        made.update(file.name.encode() + b"\0" + file.read_bytes())
    return made.hexdigest()


RELEASE: Final = _release()


class KeptRelay:
    """See this module.

    :param end: ``edge`` or ``centre``.
    :param directory: the relay's own; made if it isn't there. Nobody but us may write to the one above it.
    :param run: where the PID files are; ours alone. :param log: its log.
    :param inside: what is put before its command. :param client: PID file of OpenVPN's client (at an edge).
    """

    def __init__(
        self,
        end: str,
        directory: Path,
        run: Path,
        log: Path,
        *,
        name: str,
        inside: Sequence[str] = (),
        client: Path | None = None,
    ) -> None:
        self._end, self._directory, self._run, self._log_file = end, directory, run, log
        self._name, self._inside, self._client = name, inside, client
        self._log = logging.getLogger(f"centralino.{name}")
        self._revival = Revival(name, self._log)
        self._child: subprocess.Popen[bytes] | None = None
        self._written: dict[str, bytes] = {}
        self._former: tuple[int, float] | None = None
        """A relay of another release, and when it is to end."""

    @property
    def pid(self) -> int | None:
        """Process id of the holder; None: it doesn't run."""
        return noted(self._pid_file)

    def tend(self, config: dict[str, Any]) -> None:
        """One round: it runs, and goes by that. :raises OSError: it can't be written; what runs goes on."""
        self._make_directory()
        self.give("config.json", json.dumps(config).encode())
        if self._child is not None:
            self._child.poll()
        pid = self.pid
        if pid is None:
            if self._revival.due():
                self._start()
            return
        bound_ours(self._log_file)
        if text_of(self._release_file) not in (RELEASE, ""):
            self._log.info("%s: another release", self._name)
            former = noted(self._relay_file)
            os.kill(pid, signal.SIGKILL)  # told to end, it would end the relay too
            if self._child is not None:
                self._child.wait(STOP_S)
            self._start()
            self._former = (former, time.monotonic() + HANDED_OVER_S) if former is not None else None
        elif self._former is not None and time.monotonic() >= self._former[1]:
            if noted(self._relay_file) == self._former[0]:
                os.kill(self._former[0], signal.SIGTERM)
            self._former = None

    def give(self, name: str, content: bytes) -> None:
        """A file of that content in its directory, that it alone may read. :raises OSError: it is as it was."""
        if self._written.get(name) == content and (self._directory / name).exists():
            return
        if self._has(name, content):  # written by one of us before; on a full disk it could not be again
            self._written[name] = content
            return
        directory = os.open(self._directory, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        draft = f".{name}.given"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=directory)
            made = os.open(
                draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
            )
            try:
                with os.fdopen(made, "wb") as stream:
                    stream.write(content)
                    user = _user()
                    if user is not None:
                        os.fchown(made, user.pw_uid, user.pw_gid)
                os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=directory)
                raise
        finally:
            os.close(directory)
        self._written[name] = content

    def _has(self, name: str, content: bytes) -> bool:
        try:
            descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(len(content) + 1) == content
        except OSError:
            return False

    def standing(self) -> dict[str, Any]:
        """How it stands, as it says; empty: it says nothing, or nothing of late."""
        try:
            descriptor = os.open(
                self._directory / "standing.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return {}
        with os.fdopen(descriptor, "rb") as stream:
            try:
                if abs(time.time() - os.fstat(descriptor).st_mtime) > OLD_S:
                    return {}
                found = json.loads(stream.read(STANDING_MAX) or b"{}")
            except (OSError, ValueError, RecursionError):
                return {}
        return found if isinstance(found, dict) else {}

    def paths(self, site: str | None = None) -> list[dict[str, Any]]:
        """Paths of :meth:`standing` (at the centre: of a site), those that are told in full."""
        return sound_paths(self.standing(), site)

    def decisions(self) -> list[dict[str, Any]]:
        """Which way it took when, and why (:class:`.relay.best.Decision`), the last one first; those that are told in full."""
        found = self.standing().get("decisions")
        return [each for each in reversed(found) if _explained(each)][:KEPT] if isinstance(found, list) else []

    def stop(self) -> None:
        """End both: the holder first, or it would start another; one that had just begun leaves the relay to us."""
        for file in (self._pid_file, self._relay_file):
            pid = noted(file)
            if pid is not None:
                end(pid, STOP_S)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_S)
        for file in (self._pid_file, self._relay_file):
            file.unlink(missing_ok=True)
        self._child = None
        self._written.clear()
        self._revival.forget()

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700)
        user = _user()
        if user is not None and self._directory.stat().st_uid != user.pw_uid:
            os.chown(self._directory, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def _start(self) -> None:
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        user = _user()
        argv = [
            *urgent(), *self._inside, sys.executable, "-m", "appliance.failover.relay", "--held", "--pid", str(self._relay_file),
            *(("--user", user.pw_name) if user is not None else ()),
            *(("--client", str(self._client)) if self._client is not None else ()),
            self._end, str(self._directory),
        ]  # fmt: skip
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        self._release_file.unlink(missing_ok=True)
        self._revival.began()
        with held_together(), self._log_file.open("ab") as log:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env
            )
            note(self._pid_file, self._child.pid)
        with contextlib.suppress(OSError):  # on a full disk nobody knows, and what runs is left alone
            put(self._release_file, RELEASE.encode())

    @property
    def _relay_file(self) -> Path:
        return self._run / "relay.pid"

    @property
    def _release_file(self) -> Path:
        return self._run / "release"

    @property
    def _pid_file(self) -> Path:
        return self._run / "holder.pid"


def sound_paths(standing: dict[str, Any], site: str | None = None) -> list[dict[str, Any]]:
    """What is in the form that a relay of ours tells: a relay that was broken into may say anything."""
    try:
        found = standing["sites"][site]["paths"] if site is not None else standing["paths"]
        return [each for each in found if _sound(each)]
    except (KeyError, TypeError):
        return []


def heard_of_late(path: Mapping[str, Any], *, metered: bool) -> bool:
    """Whether anything has come by a path of late; one of a metered line is measured rarely."""
    return bool(path["in"]["silent_ms"] < (RARE_MS if metered else SILENT_MS))


def _sound(path: Any) -> bool:
    try:
        numbers = [
            path["path"],
            *(path["in"][key] for key in ("silent_ms", "packets", "highest", "late_ms", "jitter_ms")),
        ]
        numbers += [path["out"][key] for key in ("late_ms", "jitter_ms")] if path["out"] is not None else []
        shares = (path["rtt_ms"], (path["out"] or {}).get("loss"))
        return (
            all(isinstance(each, int | float) for each in numbers)
            and all(each is None or isinstance(each, int | float) for each in shares)
            and 0 <= path["path"] < PATHS
            and isinstance(path["role"], str)
            and isinstance(path["capped"], bool)
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _explained(decision: Any) -> bool:
    try:
        seen = decision["seen"]
        numbers = [decision["ago_s"], decision["held_s"], *(each[key] for each in seen for key in ("late_ms", "mos"))]
        maybe = [each[key] for each in seen for key in ("loss", "rtt_ms")]
        paths = [
            decision["taken"],
            *(each["path"] for each in seen),
            *([decision["left"]] if decision["left"] is not None else []),
        ]
        return (
            decision["why"] in set(Why)
            and all(isinstance(each, int | float) for each in numbers)
            and all(each is None or isinstance(each, int | float) for each in maybe)
            and all(isinstance(each, int) and 0 <= each < PATHS for each in paths)
            and isinstance(decision["number"], int)
            and len(seen) == (2 if decision["left"] is not None else 1)
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _user() -> pwd.struct_passwd | None:
    """Whom relays become; None: we are nobody else's superior, and they stay what we are."""
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return pwd.getpwnam("nobody")
