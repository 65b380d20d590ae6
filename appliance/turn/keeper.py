"""Keeps coturn as the configuration in force wants it: as a user of its own without rights, in a sandbox that shows it nothing else.

What happens when…

* coturn dies: it is started again (:mod:`appliance.engine.revival`). Browsers whose voice it carried notice within seconds and look for another way (ICE restart);
* the keeper dies: coturn goes on, with all relays; the next keeper takes it over (its PID file names it for good);
* the configuration changes: coturn is started anew (the plan said that it drops connections); without a TURN server in use it ends;
* a secret is due: it lies in coturn's database from then on, and nobody notices;
* the disk is full: what stood stays, and it is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from appliance.applier.files import replace
from appliance.core.errors import UnavailableError
from appliance.engine.keeping import telling, text_of, unreadable
from appliance.engine.logs import bound_ours
from appliance.engine.place import engine_namespace
from appliance.engine.processes import command_of, descendants, end, held_together, note, noted, urgent
from appliance.engine.revival import Revival
from appliance.paths import Paths, TurnPaths
from appliance.turn.addresses import TURN_UID
from appliance.turn.credentials import Credentials, credentials
from appliance.turn.keys import Keys
from appliance.turn.plan import FILE, PLACE

_log = logging.getLogger("centralino.turn")

PROGRAM: Final = "/usr/bin/turnserver"
START_S: Final = 5.0
STOP_S: Final = 5.0
POLL_S: Final = 0.02
UPKEEP_S: Final = 60.0
"""Seconds between two looks at whether a secret is due."""
SYSTEM: Final = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
PRIVILEGED: Final = 1024


class Keeper:
    """See this module. ``configuration``: the generation in force; ``network_namespace``: where it listens, None: ours."""

    def __init__(self, paths: TurnPaths, configuration: Path, network_namespace: str | None = None) -> None:
        self._paths, self._configuration, self._namespace = paths, configuration, network_namespace
        self._keys = Keys(paths.database, TURN_UID if os.geteuid() == 0 else None)
        self._child: subprocess.Popen[bytes] | None = None
        self._revival = Revival("coturn", _log)
        self._upkeep_at = 0.0
        self.wanted = False
        """Whether the configuration has a TURN server in use."""
        self.faults: tuple[str, ...] = ()
        """What can't be done now, in words; tried again at each round."""

    def tend(self) -> None:
        """One round: do what is due. What fails is in :attr:`faults`."""
        found: list[str] = []
        with telling(found):
            config = _configured(self._configuration)
            self.wanted = config is not None
            if config is None:
                if self.pid is not None:
                    _log.info("no longer wanted")
                self._stop()
            else:
                with telling(found):
                    self._tend_keys()
                self._tend(config)
        for told in found:
            if told not in self.faults:
                _log.error("%s", told)
        self.faults = tuple(found)

    def stop(self) -> bool:
        """End coturn: the appliance is being stopped. Whether it ran."""
        ran = self.pid is not None
        self._stop()
        return ran

    @property
    def pid(self) -> int | None:
        """Process id of coturn; None: it doesn't run."""
        return noted(self._paths.pid_file)

    def credentials(self, person: str) -> Credentials:
        """For one person or program, from now on. :raises UnavailableError: ``turn_off``, ``turn_secrets``."""
        if not self.wanted:
            raise UnavailableError("no TURN server is in use here", "put one in use", error_id="turn_off")
        return credentials(self._keys.newest(), person, time.time())

    def _tend_keys(self) -> None:
        if time.monotonic() >= self._upkeep_at or not self._paths.database.exists():
            self._make_places()
            if self._keys.tend(time.time()) and self.pid is not None:
                _log.warning("the secrets are new: started anew")
                self._stop()
            self._upkeep_at = time.monotonic() + UPKEEP_S

    def _tend(self, config: str) -> None:
        pid = self.pid
        if pid is None:
            if self._revival.due():
                self._start(config)
        elif text_of(self._paths.config) != config:
            _log.info("started anew, its configuration has changed")
            self._stop()
            self._start(config)
        else:
            bound_ours(self._paths.log)
        if self._child is not None:
            self._child.poll()

    def _start(self, config: str) -> None:
        if shutil.which(PROGRAM) is None:
            raise UnavailableError("coturn is not installed", "apt install coturn", error_id="program_missing")
        self._make_places()
        root = os.geteuid() == 0
        replace(self._paths.config, config.encode(), 0o640 if root else 0o600, TURN_UID if root else None)
        inside = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        self._revival.began()
        with held_together(), self._paths.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*inside, *urgent(), *confined(self._paths.served, privileged=_is_privileged(config))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            note(self._paths.pid_file, _coturn(self._child))

    def _make_places(self) -> None:
        self._paths.served.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self._paths.served, -1, TURN_UID)
        self._paths.served.chmod(0o750)

    def _stop(self) -> None:
        pid = self.pid
        if pid is not None:
            end(pid, STOP_S)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_S)
            self._child = None
        self._paths.pid_file.unlink(missing_ok=True)
        self._revival.forget()


def confined(served: Path, *, privileged: bool = False) -> list[str]:
    """The command line that runs coturn confined; it outlives whoever started it.

    :param served: the only directory of ours that it sees, at :data:`~appliance.turn.plan.PLACE`, and may not write.
    :param privileged: it listens at a port below 1024, and keeps that one right.
    """
    made = [
        "bwrap",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--new-session",
        "--clearenv",
    ]
    made += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108
    for name in SYSTEM:
        made += ["--ro-bind-try", name, name]
    made += ["--ro-bind", str(served), PLACE, "--chdir", "/", "--setenv", "PATH", "/usr/bin:/bin", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        kept = ["--inh-caps=-all", "--bounding-set=-all"]
        made += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
        if privileged:
            made += ["--cap-add", "CAP_NET_BIND_SERVICE"]
            only = "-all,+net_bind_service"
            kept = [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
        made += [
            "--",
            "setpriv",
            f"--reuid={TURN_UID}",
            f"--regid={TURN_UID}",
            "--clear-groups",
            "--no-new-privs",
            *kept,
        ]
    return [*made, "--", PROGRAM, "-c", f"{PLACE}/{Path(FILE).name}"]


def _coturn(sandbox: subprocess.Popen[bytes]) -> int:
    """The process in the sandbox, which may die and leave it: it is coturn itself that must be known again.

    :raises UnavailableError: ``start_failed``.
    """
    deadline = time.monotonic() + START_S
    while sandbox.poll() is None and time.monotonic() < deadline:
        for pid in descendants(sandbox.pid):
            if command_of(pid)[:1] == [PROGRAM]:
                return pid
        time.sleep(POLL_S)
    end(sandbox.pid, STOP_S)
    raise UnavailableError("coturn ended at start", "its log says why", error_id="start_failed")


def turn_keeper(paths: Paths) -> Keeper:
    """The keeper of an installation."""
    return Keeper(paths.turn, paths.engine.current, engine_namespace())


def _configured(generation: Path) -> str | None:
    """What the generation in force has for coturn; None: nothing.

    :raises UnavailableError: it can't be read: what runs had better go on.
    """
    top = generation.resolve()  # one generation, even if the link moves meanwhile
    if not top.is_dir():
        raise UnavailableError("there is no configuration yet", "start the applier", error_id="no_configuration")
    try:
        return (top / FILE).read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(error) from error


def _is_privileged(config: str) -> bool:
    return any(int(port) < PRIVILEGED for port in re.findall(r"^aux-server=.*:(\d+)$", config, re.MULTILINE))
