"""Named networks of the tests: namespaces joined by a switch, all on documentation addresses.

    with Network() as net:
        pbx, phone = net.host("pbx"), net.host("phone")
        provider = net.host("provider", lan="provider")
        pbx.join("provider")                      # a second leg
        phone.run(["ping", "-c1", pbx.address])
        with net.blackhole(pbx, provider):        # silent, both ways: neither end gets an error
            ...
        with phone.unplugged():                   # the cable is out
            ...

Nothing is visible outside: the switch is a namespace too. Addresses: LAN `voice` 192.0.2.0/24 and 2001:db8:1::/64,
LAN `provider` 198.51.100.0/24 and 2001:db8:2::/64, LAN `branch` 203.0.113.0/24 and 2001:db8:3::/64. LANs aren't routed. For more than that
there are further providers, `isp-one`, `isp-two` and `lte`, and the sites `torino`, `roma` and `bari` (see LANS); a LAN is there from the first host in it on.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import ipaddress
import itertools
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

from tests.hil.agents.process import DEADLINE_S, Child

T = TypeVar("T")
LANS: dict[str, tuple[str, str]] = {
    "voice": ("192.0.2.", "2001:db8:1::"),
    "provider": ("198.51.100.", "2001:db8:2::"),
    "branch": ("203.0.113.", "2001:db8:3::"),
    "isp-two": ("198.18.0.", "2001:db8:4::"),  # RFC 2544
    "isp-one": ("198.18.1.", "2001:db8:5::"),
    "lte": ("198.18.2.", "2001:db8:6::"),
    "torino": ("10.31.0.", "2001:db8:31::"),
    "roma": ("10.32.0.", "2001:db8:32::"),
    "bari": ("10.33.0.", "2001:db8:33::"),
}
PREFIX = "cnt"  # namespaces are called cnt-<pid of the tests>-<serial>-<name>
OURS = re.compile(rf"{PREFIX}-(\d+)-\d+-[a-z0-9-]+")
CLONE_NEWNET = 0x40000000
_serial = itertools.count(1)


def command(
    argv: Sequence[str], *, timeout_s: float = DEADLINE_S, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; its output in the error when it fails."""
    done = subprocess.run(list(argv), capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def require_root() -> None:
    """Fail with the reason where namespaces can't be made: nothing is skipped. ``make test`` asks for root by itself."""
    if os.geteuid() != 0:
        pytest.fail("this test makes network namespaces, which needs root: make test asks for it, or run it by sudo")


def remove_stale() -> list[str]:
    """Remove the namespaces of test runs that are dead; their names."""
    gone = []
    for line in command(["ip", "netns", "list"]).stdout.splitlines():
        match = OURS.fullmatch(line.split(" ")[0])
        if match and not Path(f"/proc/{match[1]}").exists():
            _delete(match[0])
            gone.append(match[0])
    return gone


def _delete(name: str) -> None:
    """Delete one of our namespaces with every process in it (all of them ours: nothing else can be inside)."""
    for pid in command(["ip", "netns", "pids", name], check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    command(["ip", "netns", "delete", name], check=False)
    shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)


def in_namespace(name: str, action: Callable[[], T]) -> T:
    """Run `action` on a thread of its own inside the namespace (setns moves only the thread, see setns(2))."""
    result: list[T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", name).open("rb") as handle:
                if libc.setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {name}")
            result.append(action())
        except BaseException as error:  # noqa: BLE001 (carried to the caller's thread)
            failure.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Host:
    """One machine of the test network: a namespace with a leg in one or more LANs."""

    def __init__(self, net: Network, name: str) -> None:
        self.net = net
        self.name = name
        self.namespace = f"{PREFIX}-{os.getpid()}-{next(_serial)}-{name}"
        self.legs: dict[str, tuple[str, str]] = {}
        self._ports: dict[str, str] = {}
        command(["ip", "netns", "add", self.namespace])
        command(["ip", "-n", self.namespace, "link", "set", "lo", "up"])

    @property
    def address(self) -> str:
        """IPv4 address on the first LAN it joined."""
        return next(iter(self.legs.values()))[0]

    @property
    def address6(self) -> str:
        """IPv6 address on the first LAN it joined."""
        return next(iter(self.legs.values()))[1]

    def address_on(self, lan: str) -> str:
        return self.legs[lan][0]

    def join(self, lan: str, number: int | None = None, *, leg: str = "") -> Self:
        """Plug into a LAN; `number` is the last part of both addresses (2–254), the next free one by default.

        `leg` names the interface; by default they are eth0, eth1… in the order of joining.
        """
        self.net.plugged(lan)
        number = number or self.net.next_number(lan)
        v4, v6 = (f"{part}{number}" for part in LANS[lan])
        inner, port, space = leg or f"eth{len(self.legs)}", f"p{next(_serial)}", self.namespace
        command(
            ["ip", "-n", space, "link", "add", inner, "type", "veth", "peer", "name", port, "netns", self.net.switch]
        )
        command(["ip", "-n", self.net.switch, "link", "set", port, "master", lan, "up"])
        command(["ip", "-n", space, "addr", "add", f"{v4}/24", "dev", inner])
        command(["ip", "-n", space, "addr", "add", f"{v6}/64", "dev", inner, "nodad"])
        command(["ip", "-n", space, "link", "set", inner, "up"])
        self.legs[lan] = (v4, v6)
        self._ports[lan] = port
        return self

    def alias(self, count: int, lan: str = "voice") -> list[str]:
        """Give it `count` more IPv4 addresses, for agents that want one each."""
        added = [f"{LANS[lan][0]}{self.net.next_number(lan)}" for _ in range(count)]
        inner = f"eth{list(self.legs).index(lan)}"
        for address in added:
            command(["ip", "-n", self.namespace, "addr", "add", f"{address}/24", "dev", inner])
        return added

    def ask_names_of(self, *servers: str) -> None:
        """What runs on this host looks names up there (ip-netns(8): its own ``resolv.conf``)."""
        place = Path("/etc/netns", self.namespace)
        place.mkdir(parents=True, exist_ok=True)
        lines = [*(f"nameserver {each}" for each in servers), "options timeout:1 attempts:1"]
        (place / "resolv.conf").write_text("\n".join(lines) + "\n")

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The argv that runs `argv` on this host."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def run(
        self, argv: Sequence[str], *, timeout_s: float = DEADLINE_S, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return command(self.argv(argv), timeout_s=timeout_s, check=check)

    def start(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> Child:
        """Start a background process on this host."""
        return Child(self.argv(argv), log, env=env, cwd=cwd, pipes=pipes)

    def socket(
        self, family: int = sockets.AF_INET, kind: int = sockets.SOCK_DGRAM, protocol: int = 0
    ) -> sockets.socket:
        """A socket of this host, usable from the test's own process."""
        return in_namespace(self.namespace, lambda: sockets.socket(family, kind, protocol))

    def connect(self, address: str, port: int, deadline_s: float = DEADLINE_S) -> sockets.socket:
        """A TCP connection made from this host."""
        sock = self.socket(sockets.AF_INET6 if ":" in address else sockets.AF_INET, sockets.SOCK_STREAM)
        try:
            sock.settimeout(deadline_s)
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def unplugged(self, lan: str | None = None) -> Iterator[None]:
        """Pull the cable of a LAN (the first by default) for the time of a `with`."""
        port = self._ports[lan or next(iter(self.legs))]
        command(["ip", "-n", self.net.switch, "link", "set", port, "down"])
        try:
            yield
        finally:
            command(["ip", "-n", self.net.switch, "link", "set", port, "up"], check=False)


class Network:
    """The switch and its hosts. A context manager; also cleaned up when the interpreter exits."""

    def __init__(self) -> None:
        require_root()
        remove_stale()
        self.hosts: dict[str, Host] = {}
        self._numbers = {lan: itertools.count(11) for lan in LANS}
        self._taken: set[tuple[str, int]] = set()
        self._closers: list[Callable[[], None]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="centralino-net-")
        self.work = Path(self._folder.name)  # for captures and the like; removed with the network
        self.switch = f"{PREFIX}-{os.getpid()}-{next(_serial)}-switch"
        atexit.register(self.close)
        command(["ip", "netns", "add", self.switch])
        self._lans: set[str] = set()

    def host(self, name: str, lan: str = "voice", number: int | None = None) -> Host:
        """A new host plugged into `lan`; `number` is the last part of its addresses. Names are unique in a Network."""
        if name in self.hosts:
            raise ValueError(f"there is a host {name!r} already")
        host = self.hosts[name] = Host(self, name)
        if number:
            self._taken.add((lan, number))
        return host.join(lan, number)

    def plugged(self, lan: str) -> None:
        """The LAN is there from now on."""
        if lan not in self._lans:
            command(["ip", "-n", self.switch, "link", "add", lan, "type", "bridge"])
            command(["ip", "-n", self.switch, "link", "set", lan, "up"])
            self._lans.add(lan)

    def next_number(self, lan: str) -> int:
        number = next(n for n in self._numbers[lan] if (lan, n) not in self._taken)
        self._taken.add((lan, number))
        return number

    @contextlib.contextmanager
    def blackhole(self, *between: Host | str) -> Iterator[None]:
        """Lose every packet between two hosts (or addresses), or from and to one of them, without telling either end.

        Dropped in the switch: a drop on the host itself would give its sender EPERM, which no dead provider does.
        """
        sets = [self._addresses(end) for end in between]
        rules = []
        for family in ("ip", "ip6"):
            mine = [[str(a) for a in ends if a.version == (4 if family == "ip" else 6)] for ends in sets]
            if not all(mine):
                continue
            first, rest = f"{{{','.join(mine[0])}}}", [f"{{{','.join(m)}}}" for m in mine[1:]]
            to = f" {family} daddr {rest[0]}" if rest else ""
            back = f" {family} saddr {rest[0]}" if rest else ""
            rules += [f"{family} saddr {first}{to} drop", f"{family} daddr {first}{back} drop"]
        table = f"hole{next(_serial)}"
        chain = "\n".join(["type filter hook forward priority 0; policy accept;", *rules])
        script = f"table bridge {table} {{\nchain forward {{\n{chain}\n}}\n}}\n"
        command(["ip", "netns", "exec", self.switch, "nft", script])
        try:
            yield
        finally:
            command(["ip", "netns", "exec", self.switch, "nft", f"delete table bridge {table}"], check=False)

    @staticmethod
    def _addresses(end: Host | str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        texts = [end] if isinstance(end, str) else [text for leg in end.legs.values() for text in leg]
        return [ipaddress.ip_address(text) for text in texts]

    def at_close(self, closer: Callable[[], None]) -> None:
        """Call `closer` before the network goes."""
        self._closers.append(closer)

    def close(self) -> None:
        """Remove all of it. Harmless when done already."""
        atexit.unregister(self.close)
        while self._closers:
            self._closers.pop()()
        for host in self.hosts.values():
            _delete(host.namespace)
        self.hosts.clear()
        _delete(self.switch)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
