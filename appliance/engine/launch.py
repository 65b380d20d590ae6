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
        with (self.paths.log / "start.log").open("wb") as output:
            process = subprocess.Popen(
                command(self.sandbox()), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        engine = Engine(self, process.pid, os.pidfd_open(process.pid), process)
        try:
            self._pid_file.write_text(f"{process.pid} {_started(process.pid)}\n")
            engine.wait_ready(timeout_s)
        except BaseException:
            engine.kill()
            raise
        return engine

    def attach(self) -> Engine | None:
        """The engine that runs in these directories although its starter may be gone; ``None``: none does."""
        try:
            pid, started = self._pid_file.read_text().split()
            descriptor = os.pidfd_open(int(pid))
        except (OSError, ValueError):
            return None
        if _started(int(pid)) != started:  # another process has got the number
            os.close(descriptor)
            return None
        engine = Engine(self, int(pid), descriptor)
        return engine if engine.running else None

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
        return _find_descendant(self.sandbox_pid, _NAME)

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
            if not self.wait(timeout_s):
                self.kill()

    def kill(self) -> None:
        """End the engine at once (SIGKILL), as a crash would."""
        if self.running:
            if (pid := self.pid) is not None:
                _signal(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            self.wait(STOP_TIMEOUT_S)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _started(pid: int) -> str:
    """When a process started, in ticks since boot: with its PID, this names it for good (proc(5), stat field 22)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _find_descendant(pid: int, name: str) -> int | None:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return int(child)
            if found := _find_descendant(int(child), name):
                return found
    return None
