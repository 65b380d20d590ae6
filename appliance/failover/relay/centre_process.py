"""The relay of the centre: between the lines and OpenVPN's servers on the loopback. A site belongs to one of those; that may change while its paths stay.

Each OpenVPN session of a branch comes to the server from a loopback port of its own: the server takes a client that begins anew
for another one, and never has to find out by a time-out that the former is gone. The address tells the site.

What happens when…

* it is killed: the next one goes on with its sockets, keys and numbers; what came meanwhile waited;
* OpenVPN's server is killed: its successor is another generation; edges are told, and their clients begin anew at once;
* a site's certificate is revoked: its key is gone from the configuration, and its session within a second;
* what it goes by can't be read: what was good before goes on, and it is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.failover.relay.batch import Came, Goes, host_and_port
from appliance.failover.relay.centre import Centre, Heard, Sent, Where
from appliance.failover.relay.openvpn import OPENINGS, SESSION, opcode
from appliance.failover.relay.process import Process
from appliance.failover.relay.sockets import outside, within

PORTS: Final = 3
"""Loopback ports that a site has at most: of its session now, and of former ones that still say good-bye."""
GENERATION_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Server:
    at: tuple[str, int]
    pid_file: Path

    @classmethod
    def of(cls, config: dict[str, Any]) -> _Server:
        host, port = config["at"]
        return cls((str(host), int(port)), Path(config["pid"]))


DECISIONS: Final = 2
"""Of each site so many are told: all of five hundred sites would be three megabytes a second."""


class CentreProcess(Process):
    """See this module."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._centre = Centre(os.urandom)
        self._resumed = False
        self._servers: dict[str, _Server] = {}
        self._belongs: dict[str, str] = {}
        """By site: the name of its server."""
        self._generations: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._ports: dict[str, list[tuple[str, str]]] = {}
        """By site, the last one first: OpenVPN's session, and the name of its socket."""
        self._site_of: dict[str, str] = {}
        self._listening: dict[str, tuple[str, int]] = {}
        self._generation_at = float("-inf")
        self._made = 0

    def configure(self, config: dict[str, Any], now: float) -> None:
        """``{"listen": [[host, port], …], "servers": {name: {"at": [host, port], "pid": path}}, "sites": [{"site", "number", "server", "key": hex}, …]}``"""
        keys = {bytes.fromhex(each["key"]): str(each["site"]) for each in config["sites"]}
        servers = {str(name): _Server.of(each) for name, each in config["servers"].items()}
        belongs = {str(each["site"]): str(each["server"]) for each in config["sites"]}
        if not servers.keys() >= set(belongs.values()):
            msg = "a site belongs to a server that isn't there"
            raise ValueError(msg)
        places = {site: servers[name].at for site, name in belongs.items()}
        gone = [site for site in self._ports if places.get(site) != self._server_of(site)]
        self._numbers = {str(each["site"]): int(each["number"]) for each in config["sites"]}
        self._servers, self._belongs = servers, belongs
        self._centre.let_in(keys)
        wanted = {_outside_name(host): (str(host), int(port)) for host, port in config["listen"]}
        for name in [name for name, at in self._listening.items() if wanted.get(name) != at]:
            self.drop(name)
            del self._listening[name]
        for name, (host, port) in wanted.items():
            if name not in self._listening:
                self.add(name, self.taken(name) or outside(host, port))
                self._listening[name] = (host, port)
        for site in gone:
            self._close(site, 0)
        if not self._resumed:
            self._resumed = True
            self._resume(now)
        self._look_at_servers()

    def _resume(self, now: float) -> None:
        former = self.former()
        self._generations = dict(former.get("generations", {}))
        self._tell_generations()
        for session in former.get("sessions", ()):
            try:
                self._centre.resume(session, now, self.spare)
            except (KeyError, TypeError, ValueError):
                continue  # its key is gone, or it was garbled: the edge begins another one
        for site, ports in former.get("ports", {}).items():
            for opened, name, port in reversed(ports):
                made = self._again(site, name, port)
                if made is not None:
                    self.add(name, made)
                    self._ports.setdefault(site, []).insert(0, (opened, name))
                    self._site_of[name] = site
        self._made = former.get("made", 0)

    def _again(self, site: str, name: str, port: int) -> socket.socket | None:
        """A port that the relay before had: its own socket, or another at the same port; OpenVPN's server notices nothing."""
        made = self.taken(name)
        if made is None and site in self._numbers:
            with contextlib.suppress(OSError):
                made = within(loopback(self._numbers[site]), port, self._server_of(site))
        return made

    # Datagrams

    def came(self, name: str, datagrams: list[Came], now: float) -> None:
        """From outside, or from OpenVPN's server."""
        site = self._site_of.get(name)
        if site is not None:
            for each in datagrams:
                self._send(self._centre.server(site, each.data, each.tos, now))
            return
        for each in datagrams:
            heard = self._centre.heard(each.data, Where(each.address, each.local), now)
            if heard.site is not None:
                self._hand_on(heard)
            if heard.sent:
                self._send(heard.sent)

    def _hand_on(self, heard: Heard) -> None:
        site, payload = heard.site or "", heard.payload
        ports = self._ports.get(site)
        if opcode(payload) in OPENINGS:
            opened = payload[SESSION].hex()
            if not ports or ports[0][0] != opened:
                ports = self._open(site, opened)
        if ports:
            self.go(ports[0][1], Goes(payload))

    def _open(self, site: str, opened: str) -> list[tuple[str, str]]:
        """A port for another OpenVPN session."""
        self._made += 1
        name = f"site-{self._made}"
        try:
            made = within(loopback(self._numbers[site]), 0, self._server_of(site))
        except OSError as error:
            self.troubles[site] = f"{error.strerror}"
            return self._ports.get(site, [])
        self.troubles.pop(site, None)
        self.add(name, made)
        self._site_of[name] = site
        ports = self._ports.setdefault(site, [])
        ports.insert(0, (opened, name))
        self._close(site, PORTS)
        self._centre.changed = True
        return ports

    def _close(self, site: str, left: int) -> None:
        ports = self._ports.get(site, [])
        for _opened, name in ports[left:]:
            self.drop(name)
            self._site_of.pop(name, None)
        del ports[left:]
        if not ports:
            self._ports.pop(site, None)

    def _send(self, sent: list[Sent]) -> None:
        for where, datagram, tos in sent:
            name = "outside-6" if len(where.address) > 16 else "outside-4"
            self.go(name, Goes(datagram, where.address, where.local, tos))

    def tick(self, now: float) -> None:
        """What is due."""
        if now - self._generation_at >= GENERATION_S:
            self._generation_at = now
            self._look_at_servers()
        self._send(self._centre.tick(now))
        if self._centre.changed:
            self._centre.changed = False
            self.write_state()

    def _server_of(self, site: str) -> tuple[str, int]:
        return self._servers[self._belongs[site]].at

    def _look_at_servers(self) -> None:
        """Whether one of OpenVPN's servers is another process; what can't be read changes nothing."""
        before = dict(self._generations)
        for name, each in self._servers.items():
            with contextlib.suppress(OSError):
                self._generations[name] = generation_of(each.pid_file.read_bytes())
        if before != self._generations:
            self._centre.changed = True
        self._tell_generations()

    def _tell_generations(self) -> None:
        self._centre.generations = {site: self._generations.get(name, 0) for site, name in self._belongs.items()}

    # What is told

    def state(self) -> dict[str, Any]:
        """Sessions and their ports, without keys."""
        ports = {
            site: [(opened, name, self._sockets[name].getsockname()[1]) for opened, name in each]
            for site, each in self._ports.items()
        }
        return {
            "generations": self._generations, "sessions": self._centre.state(), "ports": ports, "made": self._made,
        }  # fmt: skip

    def standing(self, now: float) -> dict[str, Any]:
        """Of each site: its paths, and by which loopback ports OpenVPN knows it."""
        return {
            "generations": self._generations,
            "refused": self._centre.refused,
            "failed": self._sender.failed,
            "sites": {site: dict(self._site(site, now)) for site in self._centre.sessions.keys() | self._ports.keys()},
        }

    def _site(self, site: str, now: float) -> Iterator[tuple[str, Any]]:
        session = self._centre.sessions.get(site)
        if session is not None:
            best = session.chooser.best
            yield "best", None if best.way is None else best.way.path
            yield "decisions", [each.told(now) for each in list(best.decisions)[-DECISIONS:]]
        yield "ports", [self._sockets[name].getsockname()[:2] for _opened, name in self._ports.get(site, ())]
        yield (
            "paths",
            []
            if session is None
            else [
                {"path": path, "address": list(host_and_port(session.where[path].address)), **way.told(now)}
                for path, way in sorted(session.channel.ways.items())
                if path in session.where
            ],
        )


def loopback(number: int) -> str:
    """The address that a branch of this number has towards OpenVPN's server: of 127/8, which never leaves the machine."""
    return f"127.80.{number >> 8}.{number & 255}"


def generation_of(content: bytes) -> int:
    """A number for a process, from its PID file, which names it for good."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())


def _outside_name(host: str) -> str:
    return "outside-6" if ":" in host else "outside-4"
