"""The applier's connection to the engine: made when needed, kept while a change is under way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from appliance.applier import sockets
from appliance.applier.enginelog import EngineLog
from appliance.applier.expect import Mismatch
from appliance.applier.plan import RUNTIME, Files
from appliance.applier.readback import Reader
from appliance.applier.sockets import Doors, Place
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.core.plan import ReadBack
from appliance.engine.ami import AmiClient, AmiError
from appliance.paths import EnginePaths

CONNECT_S: Final = 3.0
PING_S: Final = 3.0
RELOAD_S: Final = 60.0
RESTART_S: Final = 60.0
OPEN_S: Final = 3.0
"""Seconds until a listener that was just made must be open."""
_POLL_S: Final = 0.1


Run = tuple[int, int]
"""One run of the engine: inode and time of its control socket."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the engine's manager interface is: ``port`` on 127.0.0.1, within a network namespace or ours.

    ``firewall``: the firewall of that namespace is ours to set. ``vpn``: the voice VPN's daemons run there;
    ``turn``: so does the TURN server.
    """

    port: int = 5038
    network_namespace: str | None = None
    firewall: bool = False
    vpn: bool = False
    turn: bool = False


class EngineLink:
    """Everything that the applier asks of a running engine."""

    def __init__(self, paths: EnginePaths, settings: Settings) -> None:
        self._paths = paths
        self._settings = settings
        self._client: AmiClient | None = None
        self._lock = threading.RLock()

    @property
    def run(self) -> Run | None:
        """Which run of the engine stands behind its control socket, without asking it; None: there is no socket.

        The engine makes its socket anew at each start. A socket that a dead engine left behind tells of that run.
        """
        try:
            found = self._paths.control_socket.stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def close(self) -> None:
        """Hang up; the next use connects again.

        To be done after each use: the engine wakes every session of its manager interface at every event, also one that
        wants none, fifty times a call; an idle session costs a fifth of a call's CPU time (bench/call_setup).
        """
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _ami(self) -> AmiClient:
        with self._lock:
            if self._client is None:
                try:
                    secret = self._paths.ami_secret.read_text()
                except OSError as error:
                    raise UnavailableError(
                        "the engine was never started here", "start it: make run", error_id="engine_absent"
                    ) from error
                self._client = AmiClient.connect(
                    secret,
                    port=self._settings.port,
                    timeout_s=CONNECT_S,
                    network_namespace=self._settings.network_namespace,
                )
            return self._client

    def ping(self) -> None:
        """Return when the engine is fully up and answers.

        :raises UnavailableError: it isn't there, doesn't answer within a few seconds, or is still starting.
        """
        for last_try in (False, True):
            try:
                said = self._ami().command("core waitfullybooted", timeout_s=PING_S)
            except UnavailableError:
                self.close()  # the connection may be that of an engine which has been replaced since
                if last_try:
                    raise
            except AmiError as error:
                raise UnavailableError("the engine isn't ready", "wait a moment, then try again") from error
            else:
                if "fully booted" not in said:
                    raise UnavailableError("the engine is still starting", "wait a moment, then try again")
                return

    @property
    def answers(self) -> bool:
        """Whether the engine is fully up."""
        try:
            self.ping()
        except CentralinoError:
            return False
        return True

    def reload(self, module: str) -> None:
        """Reload one module; returns when the engine has done it. :raises CentralinoError: see ``AmiClient.reload``."""
        with self._closing_when_broken():
            self._ami().reload(module, timeout_s=RELOAD_S)

    def restart(self) -> None:
        """Restart the engine at once and wait until it is up again.

        :raises UnavailableError: it doesn't come up.
        """
        before = self.run
        with contextlib.suppress(UnavailableError, AmiError):  # it hangs up instead of answering
            self._ami().command("core restart now", timeout_s=PING_S)
        self.close()
        deadline = time.monotonic() + RESTART_S
        while self.run in (None, before) or not self.answers:  # the old one may answer for a while
            if time.monotonic() > deadline:
                raise UnavailableError(
                    "the engine didn't come up again", "centralino doctor", error_id="engine_restart"
                )
            time.sleep(_POLL_S)

    def mismatches(self, steps: Iterable[ReadBack], files: Files) -> list[Mismatch]:
        """What the engine holds otherwise than these sections say. :raises UnavailableError: it doesn't answer."""
        with self._closing_when_broken():
            return Reader(self._ami(), files).mismatches(steps)

    def doors(self, files: Files) -> Doors:
        """Listeners of these files that aren't open, and places where the engine listens although none of them says so."""
        missing = sockets.wanted(files)
        held: frozenset[Place] | None = None
        deadline = time.monotonic() + OPEN_S
        while missing:
            held = self._listening()
            missing = {place: id for place, id in missing.items() if held is not None and place not in held}
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return Doors(missing, tuple(sockets.strays(held or frozenset(), files, self._settings.port)))

    def hindrances(self, places: Iterable[Place]) -> dict[Place, str]:
        """Why the engine couldn't listen there, for those places where it couldn't: what the kernel says. Of a port that
        it has itself, at another address, nobody can tell before it tries."""
        own = {(held.protocol, held.port) for held in self._listening() or ()}
        others = [place for place in places if (place.protocol, place.port) not in own]
        found = {place: sockets.hindrance(place, self._settings.network_namespace) for place in others}
        return {place: reason for place, reason in found.items() if reason}

    def _listening(self) -> frozenset[Place] | None:
        pid = sockets.process_behind(self._paths.control_socket)
        return None if pid is None else sockets.listening(pid)

    @property
    def idle(self) -> bool:
        """Whether no call is up. :raises UnavailableError: the engine doesn't answer."""
        with self._closing_when_broken():
            return not self._ami().channels()

    def reaches(self, endpoint: str) -> bool:
        """False if a contact of an endpoint didn't answer the last OPTIONS. :raises UnavailableError: no engine answers."""
        with self._closing_when_broken():
            try:
                found = self._ami().list("PJSIPShowEndpoint", {"Endpoint": endpoint})
            except AmiError:  # it isn't there (yet)
                return True
        return all(each.get("Status") != "Unreachable" for each in found if each.event == "ContactStatusDetail")

    def qualify(self, endpoint: str) -> None:
        """Have the contacts of an endpoint asked at once whether they are there."""
        with self._closing_when_broken(), contextlib.suppress(AmiError):  # it has none that are asked
            self._ami().action("PJSIPQualify", {"Endpoint": endpoint})

    def log(self) -> EngineLog:
        """The engine's log, from now on."""
        return EngineLog(self._paths.messages)

    def forget(self, kind: str, id: str) -> None:
        """Remove the runtime values of a deleted object: ``<family>/<id>`` in the engine's database."""
        for family in RUNTIME.get(kind, ()):
            place = {"Family": family, "Key": id}
            with self._closing_when_broken(), contextlib.suppress(AmiError):  # refused: somebody else was faster
                if self._ami().list("DBGet", place):  # removing what isn't there would be a warning in its log
                    self._ami().action("DBDel", place)

    @contextlib.contextmanager
    def _closing_when_broken(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError:
            self.close()
            raise
