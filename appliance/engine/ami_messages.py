"""Messages of Asterisk's manager interface: bytes to messages and back (pure).

A message is a block of ``Key: value`` lines that ends in an empty line; a key may come several times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from appliance.core.errors import CorruptError, Fault, InvalidError

MESSAGE_MAX = 64 * 1024 * 1024
"""Bytes of one message that we are ready to take: the whole dialplan of a large installation fits."""


@dataclass(frozen=True, slots=True)
class Message:
    """One response or event, its lines in order. Keys are looked up without regard to case."""

    lines: tuple[tuple[str, str], ...]

    def get(self, key: str, default: str = "") -> str:
        """The first value of ``key``."""
        wanted = key.lower()
        return next((value for name, value in self.lines if name.lower() == wanted), default)

    def all(self, key: str) -> list[str]:
        """Every value of ``key``, in order."""
        wanted = key.lower()
        return [value for name, value in self.lines if name.lower() == wanted]

    def __getitem__(self, key: str) -> str:
        """:raises KeyError: there is no such line."""
        wanted = key.lower()
        for name, value in self.lines:
            if name.lower() == wanted:
                return value
        raise KeyError(key)

    def __contains__(self, key: str) -> bool:
        return any(name.lower() == key.lower() for name, _ in self.lines)

    def as_dict(self) -> dict[str, str]:
        """The last value of each key, as the engine spells it."""
        return dict(self.lines)

    @property
    def event(self) -> str:
        """Name of the event; empty for a response."""
        return self.get("Event")

    @property
    def succeeded(self) -> bool:
        """Whether a response says so."""
        return self.get("Response") in {"Success", "Goodbye", "Follows"}


def serialise(action: str, fields: Mapping[str, str | Sequence[str]] | None = None) -> bytes:
    """One action as bytes. A sequence as value gives one line for each.

    :raises InvalidError: a line break or NUL in a key or value, which would smuggle in another line.
    """
    lines = [("Action", action)]
    for key, value in (fields or {}).items():
        lines += [(key, each) for each in ([value] if isinstance(value, str) else value)]
    for key, value in lines:
        if any(mark in text for text in (key, value) for mark in "\r\n\0") or ":" in key or not key:
            fault = Fault(f"ami/{action}/{key!r}", "line breaks can't be sent to the engine", error_id="ami_line_break")
            raise InvalidError([fault])
    return ("".join(f"{key}: {value}\r\n" for key, value in lines) + "\r\n").encode()


class Parser:
    """Collects bytes as they come and gives out whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take in ``data``; yield each message that it completes.

        :raises CorruptError: a message longer than :data:`MESSAGE_MAX`.
        """
        # Only the new bytes (and the three before, where a separator may have begun) need a look.
        start = max(0, len(self._buffer) - 3)
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n", start)) >= 0:
            block = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            start = 0
            if block.strip():
                yield parse(block)
        if len(self._buffer) > MESSAGE_MAX:
            raise CorruptError("the engine's manager sent a message without end", error_id="ami_protocol")


def parse(block: bytes) -> Message:
    """One message without its closing empty line.

    A line that has no ``Key:`` belongs to the value before it: some values of the engine hold line breaks.
    """
    lines: list[tuple[str, str]] = []
    for line in block.decode("utf-8", errors="replace").split("\r\n"):
        key, separator, value = line.partition(":")
        if separator and key and " " not in key:
            lines.append((key, value.removeprefix(" ")))
        elif lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]}\n{line}")
    return Message(tuple(lines))
