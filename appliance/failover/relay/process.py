"""What both relays are as processes: one thread that waits for datagrams, hands each batch to its machine, and ticks twenty times a second.

Only Python's own library is imported here: a relay that is started again is at work within a tenth of a second.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from appliance.failover.relay.batch import Came, Goes, Receiver, Sender
from appliance.failover.relay.channel import SPARE
from appliance.failover.relay.sockets import Kept

TICK_S: Final = 0.05
TOLD_S: Final = 1.0
"""Between two looks at the configuration, and two accounts of how it stands."""
WRITTEN_S: Final = 5.0
"""Between two writings of numbers that change all the time."""
BUSIEST: Final = 20_000
"""Packets that a session sends in a second at most."""


class Process(ABC):
    """See this module.

    :param directory: the relay's own. In it, ``config.json``: what whoever starts the relay has written for it, 0600; read again when it is another file.
    """

    def __init__(self, directory: Path) -> None:
        self._config, self._directory = directory / "config.json", directory
        self._stamp: tuple[int, int] | None = None
        self._receiver, self._sender = Receiver(), Sender()
        self._epoll = select.epoll()
        self._sockets: dict[str, socket.socket] = {}
        self._names: dict[int, str] = {}
        self._goes: defaultdict[str, list[Goes]] = defaultdict(list)
        self._kept = Kept(os.environ)  # type: ignore[arg-type]  # os.environ is one, but for its class
        self._told_at = self._written_at = float("-inf")
        self._stopping = self._hand_over = False
        self.troubles: dict[str, str] = {}
        self.spare = SPARE
        """Numbers that may have been used since the state was written from which this process goes on: on a full disk it may be an old one."""

    # What each of the two is

    @abstractmethod
    def configure(self, config: dict[str, Any], now: float) -> None:
        """Go by another configuration."""

    @abstractmethod
    def came(self, name: str, datagrams: list[Came], now: float) -> None:
        """Datagrams came to a socket."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Do what is due."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the next process needs to go on."""

    @abstractmethod
    def standing(self, now: float) -> dict[str, Any]:
        """How it stands, for whoever shows it."""

    # Sockets

    def add(self, name: str, made: socket.socket, *, keep: bool = True) -> None:
        """Listen to a socket."""
        self._sockets[name], self._names[made.fileno()] = made, name
        self._epoll.register(made.fileno(), select.EPOLLIN)
        if keep:
            self._kept.keep(name, made)

    def drop(self, name: str) -> None:
        """Close one."""
        made = self._sockets.pop(name, None)
        if made is not None:
            self._goes.pop(name, None)
            self._names.pop(made.fileno(), None)
            self._epoll.unregister(made.fileno())
            made.close()
            self._kept.forget(name)

    def taken(self, name: str) -> socket.socket | None:
        """One of that name that an earlier process left."""
        return self._kept.take(name)

    def go(self, name: str, datagram: Goes) -> None:
        """Send it by a socket, with the others of this round."""
        self._goes[name].append(datagram)

    def _flush(self) -> None:
        for name, goes in self._goes.items():
            if goes:
                made = self._sockets.get(name)
                if made is not None:
                    self._sender.send(made.fileno(), goes, six=made.family == socket.AF_INET6)
                goes.clear()

    # The loop

    def run(self) -> None:
        """Until SIGTERM or SIGINT. :raises OSError: the configuration can't be read at the start; :raises ValueError: it is none."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_other_holder)
        self._look(time.monotonic(), first=True)
        self._kept.ready()
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes rings; a look for them would be heard
        next_tick = time.monotonic()
        while not self._stopping:
            for descriptor, _event in self._epoll.poll(max(0.0, next_tick - time.monotonic())):
                name = self._names.get(descriptor)
                if name is not None:
                    self.came(name, self._receiver.receive(descriptor), time.monotonic())
                    self._flush()
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                self.tick(now)
                self._flush()
                if self._hand_over:
                    self._hand_over = False
                    for name, made in self._sockets.items():
                        self._kept.keep(name, made)
                if now - self._told_at >= TOLD_S:
                    self._look(now)
        self.write_state()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _on_other_holder(self, _number: int, _frame: object) -> None:
        self._hand_over = True

    def _look(self, now: float, *, first: bool = False) -> None:
        """At the configuration, and tell how it stands."""
        self._told_at = now
        try:
            found = self._config.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._stamp:
                self.configure(json.loads(self._config.read_bytes()), now)
                self._stamp = stamp
                self.troubles.pop("configuration", None)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if first:
                raise
            self.troubles["configuration"] = f"{type(error).__name__}: {error}"  # what was good before goes on
        if now - self._written_at >= WRITTEN_S:
            self.write_state()
        self._put("standing.json", {"pid": os.getpid(), "troubles": self.troubles, **self.standing(now)})

    def tell(self) -> None:
        """How it stands, in this round and not within a second: something is another that somebody goes by."""
        self._told_at = float("-inf")

    def write_state(self) -> None:
        """Have it written what the next process needs."""
        self._written_at = time.monotonic()
        self._put("state.json", {"at": self._written_at, **self.state()})

    def former(self) -> dict[str, Any]:
        """What the process before wrote; empty: nothing, or nothing that can be read. From then on :attr:`spare` is of that."""
        file = self._directory / "state.json"
        try:
            found = json.loads(file.read_bytes())
            ages = time.time() - file.stat().st_mtime, time.monotonic() - float(found["at"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        self.spare = SPARE + int(BUSIEST * max(0.0, *ages))  # by whichever clock hasn't begun anew
        return dict(found)

    def _put(self, name: str, content: dict[str, Any]) -> None:
        """A file as a whole. A full disk is told of, and hinders nothing."""
        fresh = self._directory / f".{name}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(json.dumps(content).encode())
            fresh.replace(self._directory / name)
        except OSError as error:
            self.troubles[name] = f"{error.filename or name}: {error.strerror}"
        else:
            self.troubles.pop(name, None)
