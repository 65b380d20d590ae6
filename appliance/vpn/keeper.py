"""Keeps the OpenVPN daemons of the voice VPN as the configuration in force wants them.

What happens when…

* a daemon dies: it is started again (:mod:`appliance.engine.revival`);
* the keeper dies: daemons go on, with all tunnels; the next keeper takes them over (its PID files name them for good);
* a branch is added, changed or removed: what it is given lies ready for its next connection, and its routes are set; no other
  tunnel notices;
* anything else of a daemon's configuration changes: that daemon is started anew, and its branches are back in seconds;
* a certificate is revoked or renewed: whom a daemon lets in follows within a second;
* the list of revoked certificates, or another file that OpenVPN reads, is garbled, gone or closed to it: it is made again within a
  second, before anybody is turned away for it; tunnels that are up don't notice;
* what can't be mended (full disk, a clock that can't be right): what stood stays, :attr:`Keeper.alarms` tells what to do;
* the disk is full: what stood stays, and it is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.core.errors import Fault, UnavailableError
from appliance.engine.keeping import telling, text_of
from appliance.engine.logs import bound_ours
from appliance.engine.place import engine_namespace
from appliance.engine.processes import end, held_together, note, noted, urgent
from appliance.engine.revival import Revival
from appliance.engine.runner import run
from appliance.failover.relays import Relays
from appliance.paths import Paths, VpnPaths
from appliance.vpn.configured import Configured, Generations
from appliance.vpn.files import put
from appliance.vpn.pki import Authority, Issued, Role
from appliance.vpn.pki.tending import concerning
from appliance.vpn.plan import THIRD_INTERFACE, interface_of, routes_of, without_routes

_log = logging.getLogger("centralino.vpn")

STOP_S: Final = 5.0
UPKEEP_S: Final = 300.0
"""Seconds between two looks at what certificates and lists need …"""
TROUBLED_S: Final = 30.0
"""… and while something isn't well. What somebody else changed of the files that OpenVPN reads is seen at once."""
IP_S: Final = 20.0
LOOK_S: Final = 30.0
"""Seconds between two looks into every file where nothing seems to have changed: what expired, and what somebody has edited."""
CALM_NS: Final = 1_000_000_000
"""A directory that was changed less than this ago may be changed again without its time telling."""


@dataclass
class _Kept:
    """One daemon while it is wanted."""

    revival: Revival
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Seen:
    """What whom a daemon lets in was last reckoned from: 500 branches aren't read twice a second for nothing."""

    clients: Mapping[str, str]
    times: tuple[int, ...]
    at: float


class Keeper:
    """See this module. ``configuration``: the generation in force; ``network_namespace``: where the tunnels are, None: ours."""

    def __init__(
        self, paths: VpnPaths, configuration: Path, authority: Authority, network_namespace: str | None = None
    ) -> None:
        self._paths = paths
        self._authority, self._namespace = authority, network_namespace
        self._kept: dict[str, _Kept] = {}
        self._upkeep_at = 0.0
        self._wanted = Generations(configuration)
        self._seen: dict[str, _Seen] = {}
        self._keys: tuple[tuple[object, ...], dict[bytes, str]] = ((), {})
        self.relays = Relays(paths, configuration, self._relay_keys, network_namespace)
        """Beside the daemons, for branches with lines of their own."""
        self._tended: tuple[tuple[int, int, int] | None, ...] = ()
        self._told: tuple[Fault, ...] = ()
        self.alarms: tuple[Fault, ...] = ()
        """What the authority has to tell: certificates, lists, the clock."""
        self.faults: tuple[str, ...] = ()
        """What can't be done now, in words; tried again at each round."""
        self.sites: dict[str, str] = {}
        """Branches of the configuration, by site: the interface that they come in by."""
        self.living: dict[str, Issued] = {}
        """Certificates that are let in, by common name …"""
        self.replacing: dict[str, Issued] = {}
        """… and those of them that take the place of others, which are revoked when their edge comes in by it."""
        self.changed: set[tuple[str, str]] = set()
        """Interface and common name of sessions that go by what is no longer so; whoever has cut one off takes it out."""

    def tend(self) -> None:
        """One round: do what is due. What fails is in :attr:`faults`, and holds nothing else up."""
        found: list[str] = []
        with telling(found):
            wanted = self._wanted.read()
            with telling(found):
                self._tend_authority(bool(wanted))
            for interface in sorted(self._running() - wanted.keys()):
                _log.info("%s: no longer wanted", interface)
                self._stop(interface)
                shutil.rmtree(self._paths.clients(interface), ignore_errors=True)
            for interface, each in wanted.items():
                with telling(found):
                    self._tend(interface, each)
            self.sites = {site: interface for interface, each in wanted.items() for site in each.clients}
            self._live({name: each for name, each in self.living.items() if each.site in self.sites})
            self.relays.tend(lambda index: self._pid_file(interface_of(int(index))), found)
            self.alarms = concerning(self._told, self.sites)
        for told in found:
            if told not in self.faults:
                _log.error("%s", told)
        self.faults = tuple(found)

    def stop(self) -> list[str]:
        """End every daemon: the appliance is being stopped. Those that ran."""
        ended = [interface for interface in sorted(self._running()) if self.pid(interface) is not None]
        for interface in sorted(self._running()):
            self._stop(interface)
        self.relays.stop()
        return ended

    @property
    def interfaces(self) -> list[str]:
        """Of daemons that are wanted."""
        return sorted(self._kept)

    @property
    def network_namespace(self) -> str | None:
        """Where the tunnels are; None: ours."""
        return self._namespace

    def revoke(self, site: str) -> tuple[Issued, ...]:
        """Revoke all certificates of a site; its connections are cut off at the next round. From any thread."""
        return self._authority.revoke_site(site)

    def management(self, interface: str) -> Path:
        """A daemon's management socket."""
        return self._paths.management(interface)

    def pid(self, interface: str) -> int | None:
        """Process id of a daemon; None: it doesn't run."""
        return noted(self._pid_file(interface))

    # Certificates

    def confirm(self, used: Issued) -> tuple[Issued, ...]:
        """A branch came in with this certificate: those that it takes the place of are revoked. :raises CentralinoError: they stay."""
        return self._authority.confirm(used.serial)

    def _relay_keys(self) -> dict[bytes, str]:
        """Read when a certificate has come or gone, or a key: not twice a second for nothing."""
        seen = (*sorted(self.living), _told_apart(self._paths.ca / "relay"))
        if seen != self._keys[0]:
            self._keys = (seen, self._authority.relay_keys())
        return self._keys[1]

    def _tend_authority(self, wanted: bool) -> None:
        if not wanted:
            self._told = ()
        if not wanted or (time.monotonic() < self._upkeep_at and self._tended == self._read_by_openvpn()):
            return
        if not self._authority.exists:
            self._authority.create()
        self._upkeep_at = time.monotonic() + UPKEEP_S
        found = self._authority.upkeep().faults
        for fault in found:
            if fault not in self._told:
                _log.warning("%s %s (%s)", fault.path, fault.message, fault.hint)
        self._told = found
        if any(fault.severity == "error" for fault in found):
            self._upkeep_at = time.monotonic() + TROUBLED_S
        self._tended = self._read_by_openvpn()

    def _read_by_openvpn(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells that a file of the authority is another, or may be read by others than before; None: it isn't there."""
        paths = self._paths
        files = (paths.crl, paths.root_certificate, paths.server, paths.tls_crypt, paths.admit, paths.ca / "clock.json")
        return tuple(map(_told_apart, files))

    # One daemon

    def _tend(self, interface: str, wanted: Configured) -> None:
        kept = self._kept_of(interface)
        self._let_in_anew(interface, wanted.clients)
        pid, file = self.pid(interface), self._config_file(interface)
        standing = text_of(file)
        if pid is None:
            if kept.child is not None:
                kept.child.poll()
            if kept.revival.due():
                self._start(interface, wanted, kept)
        elif standing != wanted.config and without_routes(standing) != without_routes(wanted.config):
            _log.info("%s: started anew, its configuration has changed", interface)
            self._stop(interface)
            self._start(interface, wanted, self._kept_of(interface))
        else:
            if standing != wanted.config:
                self._reroute(interface, standing, wanted.config)
                put(file, wanted.config.encode())
            bound_ours(self._log_file(interface))
            if kept.child is not None:
                kept.child.poll()

    def _let_in_anew(self, interface: str, clients: Mapping[str, str]) -> None:
        """Reckon it when anything it depends on may have changed: configuration, what was issued or revoked, the directory itself."""
        before, now, seen = self._times(interface), time.monotonic(), self._seen.get(interface)
        if seen is not None and (seen.clients is clients, seen.times) == (True, before) and now < seen.at + LOOK_S:
            return
        self._let_in(interface, clients)
        calm = before and max(before) + CALM_NS < time.time_ns()
        if calm and before == self._times(interface):
            self._seen[interface] = _Seen(clients, before, now)
        else:
            self._seen.pop(interface, None)

    def _times(self, interface: str) -> tuple[int, ...]:
        """When the directories were changed; empty: one isn't there."""
        registry = self._paths.ca
        try:
            return tuple(
                each.stat().st_mtime_ns
                for each in (registry / "issued", registry / "revoked", self._paths.clients(interface))
            )
        except OSError:
            return ()

    def _let_in(self, interface: str, clients: Mapping[str, str]) -> None:
        """One file for each certificate that lives: a branch that renews has two for a while. A daemon takes certificates of
        one kind only: a bundle that has travelled never opens the door of our own edges."""
        directory = self._paths.clients(interface)
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        directory.chmod(0o711)
        role = Role.THIRD_PARTY if interface == THIRD_INTERFACE else Role.BRANCH
        living = {each.name: each for each in self._authority.living() if each.site in clients and each.role is role}
        there = {path.name for path in directory.iterdir()}
        for name in there - living.keys():
            self.changed.add((interface, name))
            (directory / name).unlink(missing_ok=True)
        for name, each in living.items():
            path = directory / name
            if text_of(path) != clients[each.site]:
                put(path, clients[each.site].encode(), 0o644)
                if name in there:
                    self.changed.add((interface, name))
        self._live({name: each for name, each in self.living.items() if each.site not in clients} | living)

    def _live(self, living: dict[str, Issued]) -> None:
        if living == self.living:
            return
        self.living, of_site = living, dict[str, list[Issued]]()
        for each in living.values():
            of_site.setdefault(each.site, []).append(each)
        self.replacing = {
            each.name: each
            for ours in of_site.values()
            if len(ours) > 1
            for each in ours
            if any(other.generation < each.generation or other.serial == each.replaces for other in ours)
        }

    def _kept_of(self, interface: str) -> _Kept:
        return self._kept.setdefault(interface, _Kept(Revival(f"{interface}: OpenVPN", _log)))

    def _start(self, interface: str, wanted: Configured, kept: _Kept) -> None:
        self._write(interface, wanted.config)
        self._paths.log.mkdir(parents=True, exist_ok=True)
        if self._paths.memory is not None:  # whatever our umask: OpenVPN's user needs to get into it
            self._paths.memory.mkdir(parents=True, exist_ok=True)
            self._paths.memory.chmod(0o711)
        self._paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths.run.chmod(0o700)
        self._paths.temporary.mkdir(exist_ok=True)
        self._paths.temporary.chmod(0o1777)
        self._require_way_in()
        inside = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        argv = [*inside, *urgent(), "openvpn", "--config", str(self._given_file(interface))]
        if (inside and shutil.which(inside[0]) is None) or shutil.which("openvpn") is None:
            raise UnavailableError("openvpn is not installed", "apt install openvpn", error_id="program_missing")
        kept.revival.began()
        with held_together(), self._log_file(interface).open("ab") as log:
            kept.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            note(self._pid_file(interface), kept.child.pid)

    def _write(self, interface: str, config: str) -> None:
        """Configuration and routes, apart: OpenVPN would keep four variables of each route, copy them for each session that begins, and
        compare every one with every other. With 500 branches that was half of what a handshake cost."""
        routes = self._paths.openvpn / f"{interface}.routes"
        lines = [f"route replace {network} dev {interface}" for network in sorted(routes_of(config))]
        call = f"up \"/bin/sh '{routes}'\"\n"
        for file, text in (
            (routes, "\n".join(["ip -force -batch - <<'END' || :", *lines, "END"]) + "\n"),
            (self._given_file(interface), without_routes(config) + call),
            (self._config_file(interface), config),
        ):
            if text_of(file) != text:  # on a full disk a daemon can be started again as it was
                put(file, text.encode())

    def _require_way_in(self) -> None:
        """OpenVPN gives up root, and then still looks at every connection into lists and directories of clients."""
        for directory in {*self._paths.top.resolve().parents, *self._paths.temporary.resolve().parents}:
            if not directory.stat().st_mode & stat.S_IXOTH:
                raise UnavailableError(
                    f"OpenVPN's user can't get into {directory}: every branch would be turned away",
                    f"chmod o+x {directory}, or keep the appliance's state elsewhere: CENTRALINO_STATE",
                    error_id="vpn_state_closed",
                )

    def _stop(self, interface: str) -> None:
        pid, kept = self.pid(interface), self._kept.pop(interface, None)
        if pid is not None:
            end(pid, STOP_S)
        if kept is not None and kept.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                kept.child.wait(STOP_S)
        self._pid_file(interface).unlink(missing_ok=True)

    def _reroute(self, interface: str, before: str, after: str) -> None:
        old, new = routes_of(before), routes_of(after)
        inside = ["-n", self._namespace] if self._namespace else []
        for verb, networks in (("replace", new - old), ("delete", old - new)):
            for network in sorted(networks):
                family = ["-6"] if ":" in network else []
                # What is deleted may be gone already: the kernel's word on it doesn't matter.
                run(
                    ["ip", *inside, *family, "route", verb, network, "dev", interface],
                    timeout_s=IP_S,
                    check=verb == "replace",
                )
        _log.info("%s: routes changed, %d new, %d gone", interface, len(new - old), len(old - new))

    def _running(self) -> set[str]:
        """Interfaces of daemons that run, whoever started them, and of those that are to be started again."""
        files = self._paths.run.glob("*.pid") if self._paths.run.is_dir() else ()
        return {file.stem for file in files} | self._kept.keys()

    def _pid_file(self, interface: str) -> Path:
        return self._paths.run / f"{interface}.pid"

    def _log_file(self, interface: str) -> Path:
        return self._paths.log / f"{interface}.log"

    def _config_file(self, interface: str) -> Path:
        """What the daemon goes by, as it was planned."""
        return self._paths.openvpn / f"{interface}.conf"

    def _given_file(self, interface: str) -> Path:
        """What the daemon reads at its start."""
        return self._paths.openvpn / f"{interface}.ovpn"


def vpn_keeper(paths: Paths) -> Keeper:
    """The keeper of an installation."""
    return Keeper(paths.vpn, paths.engine.current, Authority(paths.vpn), engine_namespace())


def _told_apart(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_mode
