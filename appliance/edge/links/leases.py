"""DHCP for a line (RFC 2131): busybox's udhcpc as a process of its own, and what it was told.

It goes on renewing with the agent dead; the next agent finds it by its PID file. What it was told lies in memory, one file for each
interface, written by ``lease.sh`` beside this module, which udhcpc starts at each event.

What happens when…

* nobody answers: four requests, two seconds apart, then again after five seconds, for ever;
* the server says no (NAK): the address goes at once, and it asks for another one;
* the cable was out: it asks again at once when it is in (:meth:`Leases.again`), for it may lead elsewhere now;
* the file is garbage, or says what can't be: it is no lease, and that is told;
* the machine was started since: it is no lease, whatever the file says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path
from typing import Final

from appliance.clock import Clock, system_clock
from appliance.core.errors import UnavailableError
from appliance.edge.links.things import Lease
from appliance.edge.unit import narrowed
from appliance.engine.logs import bound_ours
from appliance.engine.processes import command_of, end, held_together, note, noted
from appliance.engine.revival import Revival

_log = logging.getLogger("centralino.edge")

SCRIPT: Final = Path(__file__).with_name("lease.sh")
TRIES: Final = ("-t", "4", "-T", "2", "-A", "5")
STOP_S: Final = 2.0
MAX_BYTES: Final = 4096
FOREVER: Final = 0xFFFFFFFF
"""Seconds of a lease that never ends (RFC 2131 section 3.3)."""
_LINE: Final = re.compile(r"([a-z]+)=(.*)")


class Leases:
    """Of one edge. ``directory``: in memory, ours alone. ``log``: where udhcpc's words go."""

    def __init__(self, directory: Path, log: Path, clock: Clock = system_clock) -> None:
        self._directory, self._log_folder, self._clock = directory, log, clock
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._revivals: dict[str, Revival] = {}

    def tend(self, devices: frozenset[str], up: frozenset[str]) -> None:
        """One runs for each of these interfaces, and for no others. One that can't begin yet isn't started: it would only die.

        :raises UnavailableError: ``program_missing``; :raises OSError: it can't be started; the others go on.
        """
        trouble: OSError | UnavailableError | None = None
        for file in sorted(self._directory.glob("*.pid")) if self._directory.is_dir() else ():
            if file.stem not in devices:
                self._end(file.stem)
        for device in sorted(devices & up):
            try:
                self._tend(device)
            except (OSError, UnavailableError) as error:
                trouble = error
        if trouble is not None:
            raise trouble

    def lease(self, device: str) -> Lease | None:
        """What is good now; None: nothing. :raises UnavailableError: ``bad_lease``: it was told what can't be."""
        try:
            with self._file(device).open("rb") as file:
                content = file.read(MAX_BYTES)
        except OSError:
            return None
        try:
            return read(content, self._clock().uptime / 1000)
        except ValueError as error:
            raise UnavailableError(
                f"the DHCP server at {device} says what can't be: {error}", "ask the provider, or enter the addresses",
                error_id="bad_lease",
            ) from error  # fmt: skip

    def again(self, device: str) -> None:
        """The cable is in again: ask at once."""
        pid = noted(self._pid_file(device))
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)

    def _tend(self, device: str) -> None:
        child = self._children.get(device)
        if child is not None:
            child.poll()
        bound_ours(self._log_file(device))
        if noted(self._pid_file(device)) is None:
            revival = self._revivals.setdefault(device, Revival(f"udhcpc of {device}", _log))
            if revival.due():
                revival.began()
                self._start(device)

    def _start(self, device: str) -> None:
        program = shutil.which("udhcpc") or shutil.which("udhcpc", path="/usr/sbin:/sbin")
        if program is None:
            raise UnavailableError("udhcpc is not installed", "apt install udhcpc", error_id="program_missing")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held_together(), self._log_file(device).open("ab") as log:
            child = subprocess.Popen(
                [*narrowed("net_raw", "net_bind_service"), program, "-f", "-i", device, "-s", str(SCRIPT), "-V", "centralino", *TRIES],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CENTRALINO_LEASES": str(self._directory)},
            )  # fmt: skip
            note(self._pid_file(device), child.pid)
        self._children[device] = child

    def _end(self, device: str) -> None:
        pid = noted(self._pid_file(device))
        if pid is not None and "udhcpc" in " ".join(command_of(pid)):
            end(pid, STOP_S)
        child = self._children.pop(device, None)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_S)
        self._revivals.pop(device, None)
        for file in (self._pid_file(device), self._file(device)):
            file.unlink(missing_ok=True)

    def _file(self, device: str) -> Path:
        return self._directory / f"{device}.lease"

    def _pid_file(self, device: str) -> Path:
        return self._directory / f"{device}.pid"

    def _log_file(self, device: str) -> Path:
        return self._log_folder / f"dhcp-{device}.log"


def read(content: bytes, uptime_s: float) -> Lease | None:
    """What ``lease.sh`` has written (pure); None: it is over, or of another start of the machine.

    :raises ValueError: it says what can't be.
    """
    told: dict[str, str] = {}
    for line in content.decode("ascii").splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            told[found[1]] = found[2]
    at, lasts = float(told.get("at", "nan")), int(told.get("lease") or FOREVER)
    ends_in = None if lasts == FOREVER else at + lasts - uptime_s
    if not at <= uptime_s or (ends_in is not None and ends_in <= 0):
        return None
    address = ip_interface(f"{told.get('ip', '')}/{told.get('mask') or '32'}")
    if not isinstance(address, IPv4Interface) or not _usable(address.ip):
        msg = f"{told.get('ip', '')!r} is no address of a machine"
        raise ValueError(msg)
    gateways = tuple(each for each in _addresses(told.get("router", "")) if each != address.ip)
    if address.network.prefixlen < 32:
        gateways = tuple(each for each in gateways if each in address.network)
    server = _addresses(told.get("serverid", ""))
    return Lease(address, gateways, tuple(_addresses(told.get("dns", ""))), server[0] if server else None, ends_in)


def _addresses(words: str) -> list[IPv4Address]:
    """Those that can be had; others are as if they weren't there."""
    found = []
    for word in words.split():
        with contextlib.suppress(ValueError):
            each = IPv4Address(word)
            if _usable(each):
                found.append(each)
    return found


def _usable(address: IPv4Address) -> bool:
    return not (
        address.is_unspecified
        or address.is_multicast
        or address.is_loopback
        or address == IPv4Address("255.255.255.255")
    )
