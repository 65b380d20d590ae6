"""Starts and stops the engine, confined as :mod:`appliance.engine.sandbox` says.

:class:`EngineLauncher` is the one seam: ``make run``, the tests and the benchmarks start the engine through it; in
the image systemd does the same by the unit that :meth:`EngineLauncher.unit` writes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core.errors import CentralinoError, RefusedError, UnavailableError
from appliance.engine.ami import AmiClient
from appliance.engine.plan import AMI_USER
from appliance.engine.processes import descendants, held_together, note, noted, urgent
from appliance.engine.root import EngineRoot
from appliance.engine.runner import run
from appliance.engine.sandbox import Mount, Sandbox, command, hosts_text, systemd_unit
from appliance.engine.trim import ENGINE_GID, ENGINE_UID
from appliance.paths import EnginePaths

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_NAME = "asterisk"


@dataclass(frozen=True, slots=True)
class EngineLauncher:
    """One installation's engine: its root, its directories, the port of its manager interface.

    :param die_with_parent: see :class:`~appliance.engine.sandbox.Sandbox`.
    :param network_namespace: name of a network namespace (``ip netns``) to run in; needs root.
    """

    root: EngineRoot
    paths: EnginePaths
    ami_port: int = 5038
    die_with_parent: bool = True
    network_namespace: str | None = None
    drops_root: bool = field(default_factory=lambda: os.geteuid() == 0)

    @property
    def user(self) -> tuple[int, int]:
        """uid and gid that the engine runs as."""
        return (ENGINE_UID, ENGINE_GID) if self.drops_root else (os.geteuid(), os.getegid())

    def prepare(self) -> None:
        """Make the engine's directories and its manager secret; what is there already keeps its content."""
        paths = self.paths
        paths.top.mkdir(parents=True, exist_ok=True)
        for readable in (paths.config, paths.tls):
            self._directory(readable, 0o750, writable=False)
        for writable in (paths.lib, paths.spool, paths.log, paths.cel, paths.run):
            self._directory(writable, 0o750, writable=True)
        if not paths.ami_secret.exists():
            unfinished = paths.ami_secret.with_suffix(".new")
            unfinished.touch(mode=0o600)
            unfinished.write_text(secrets.token_urlsafe(32))
            unfinished.rename(paths.ami_secret)
        (paths.top / "hosts").write_text(hosts_text([socket.gethostname()]))
        (paths.top / "resolv.conf").touch()
        for name in ("hosts", "resolv.conf"):
            (paths.top / name).chmod(0o644)

    def _directory(self, path: Path, mode: int, *, writable: bool) -> None:
        path.mkdir(exist_ok=True)
        if self.drops_root:
            os.chown(path, ENGINE_UID if writable else 0, ENGINE_GID)
        path.chmod(mode)

    def grant(self, path: Path) -> None:
        """Let the engine, and no other user, read a file or directory tree that we own: 0640 and 0750."""
        for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if not each.is_symlink():
                if self.drops_root:
                    os.chown(each, 0, ENGINE_GID)
                each.chmod(0o750 if each.is_dir() else 0o640)

    def read_ami_secret(self) -> str:
        """:raises FileNotFoundError: :meth:`prepare` hasn't run."""
        return self.paths.ami_secret.read_text()

    def sandbox(self) -> Sandbox:
        """The description of the engine's confinement."""
        paths = self.paths
        mounts = (
            Mount(str(paths.config), "/etc/asterisk"),
            Mount(str(paths.tls), "/etc/asterisk-tls"),
            Mount(str(paths.top / "hosts"), "/etc/hosts"),
            Mount(str(paths.top / "resolv.conf"), "/etc/resolv.conf"),
            Mount(str(paths.lib), "/var/lib/asterisk", writable=True),
            Mount(str(paths.spool), "/var/spool/asterisk", writable=True),
            Mount(str(paths.cel), "/var/spool/asterisk-cel", writable=True),
            Mount(str(paths.log), "/var/log/asterisk", writable=True),
            Mount(str(paths.run), "/run/asterisk", writable=True),
        )
        return Sandbox(
            root=str(self.root.path),
            mounts=mounts,
            drop_to=self.user if self.drops_root else None,
            die_with_parent=self.die_with_parent,
            network_namespace=self.network_namespace,
        )

    def unit(self) -> str:
        """Text of the systemd unit that does the same."""
        return systemd_unit(self.sandbox())

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Engine:
        """Start the engine and wait until it is fully booted.

        :raises UnavailableError: ``engine_sandbox``: this kernel refuses the sandbox; ``engine_start``: it ended,
            or wasn't ready in time; the message carries its own last words.
        :raises RefusedError: ``engine_running``: one runs in these directories already.
        """
        if self.attach() is not None:
            raise RefusedError(
                "the engine is running already", "stop it first: centralino stop", error_id="engine_running"
            )
        self._check_sandbox()
        self.prepare()
        self.paths.control_socket.unlink(missing_ok=True)
        engine: Engine | None = None
        try:
            with held_together(), (self.paths.log / "start.log").open("wb") as output:
                process = subprocess.Popen(
                    [*urgent(), *command(self.sandbox())],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip
                engine = Engine(self, process.pid, os.pidfd_open(process.pid), process)
                note(self._pid_file, process.pid)
            engine.wait_ready(timeout_s)
        except BaseException:
            if engine is not None:
                engine.kill()
            raise
        return engine

    def attach(self) -> Engine | None:
        """The engine that runs in these directories although its starter may be gone; ``None``: none does."""
        pid = noted(self._pid_file)
        if pid is None:
            return None
        try:
            engine = Engine(self, pid, os.pidfd_open(pid))
        except OSError:
            return None
        return engine if noted(self._pid_file) == pid and engine.running else None

    @property
    def _pid_file(self) -> Path:
        return self.paths.top / "engine.pid"

    def _check_sandbox(self) -> None:
        if shutil.which("bwrap") is None:
            raise UnavailableError("bubblewrap is not installed", "apt install bubblewrap", error_id="program_missing")
        trial = ["bwrap", "--unshare-pid", "--unshare-uts", "--ro-bind", str(self.root.path), "/", "--proc", "/proc"]
        result = run([*trial, "/usr/sbin/asterisk", "-V"], check=False, timeout_s=20)
        if result.exit_code != 0:
            raise UnavailableError(
                f"this kernel refuses the engine's sandbox: {result.tail}",
                "start it as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1",
                error_id="engine_sandbox",
            )


class Engine:
    """A running engine, started by this process or found by :meth:`EngineLauncher.attach`."""

    def __init__(
        self, launcher: EngineLauncher, pid: int, descriptor: int, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.launcher = launcher
        self.sandbox_pid = pid
        """PID of bubblewrap, which lives as long as the engine does."""
        self._descriptor = descriptor
        self._process = process
        weakref.finalize(self, os.close, descriptor)

    @property
    def pid(self) -> int | None:
        """PID of Asterisk itself on the host; ``None`` when it doesn't run."""
        return next((pid for pid in descendants(self.sandbox_pid) if _name(pid) == _NAME), None)

    @property
    def running(self) -> bool:
        return not self.wait(0)

    @property
    def exit_code(self) -> int | None:
        """Exit code (negative: the signal that ended it); ``None`` while it runs or when another process started it."""
        return self._process.poll() if self._process else None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the engine; whether it came in time."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        ended = bool(poller.poll(timeout_s * 1000))
        if ended and self._process:
            self._process.wait()
        return ended

    def ami(self, timeout_s: float = 10.0) -> AmiClient:
        """A new connection to the engine's manager interface."""
        return AmiClient.connect(
            self.launcher.read_ami_secret(),
            username=AMI_USER,
            port=self.launcher.ami_port,
            timeout_s=timeout_s,
            network_namespace=self.launcher.network_namespace,
        )

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the engine says that it is fully booted.

        :raises UnavailableError: ``engine_start``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.running:
                raise self._failed(f"the engine ended with exit code {self.exit_code}")
            if self.launcher.paths.control_socket.exists():
                try:
                    with self.ami(max(0.1, deadline - time.monotonic())) as ami:
                        ami.command("core waitfullybooted")
                        return
                except UnavailableError:
                    pass
            if time.monotonic() > deadline:
                raise self._failed(f"the engine wasn't ready within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def _failed(self, what: str) -> CentralinoError:
        logs = self.launcher.paths.log / "start.log", self.launcher.paths.messages
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
        said = [line for line in lines if "ERROR" in line or "bwrap:" in line or "setpriv:" in line] or lines
        return UnavailableError(
            f"{what}: {said[-1] if said else 'it said nothing'}",
            f"its log is {self.launcher.paths.messages}",
            error_id="engine_start",
        )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S, *, graceful: bool = False) -> None:
        """Stop the engine; force ends it when the time is up.

        :param graceful: refuse new calls and wait for those that are up; else they are ended.
        """
        if self.running:
            if graceful:
                with contextlib.suppress(CentralinoError), self.ami() as ami:
                    ami.command("core stop gracefully")
            elif (pid := self.pid) is not None:
                _signal(pid, signal.SIGTERM)
            else:  # still starting
                timeout_s = 0
            if not self.wait(timeout_s):
                self.kill()

    def kill(self) -> None:
        """End the engine at once (SIGKILL), as a crash would."""
        if self.running:
            # bubblewrap is stopped first: killed alone while it starts, it would leave the sandbox that it just made.
            _signal(self.sandbox_pid, signal.SIGSTOP)
            deadline = time.monotonic() + 1
            while _state(self.sandbox_pid) not in "tTZX" and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            for pid in descendants(self.sandbox_pid):
                _signal(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            self.wait(STOP_TIMEOUT_S)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _state(pid: int) -> str:
    """One letter (proc(5), stat field 3); X: gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
