"""Messages of OpenVPN's management interface: bytes to typed messages and back (pure).

Source: ``doc/management-notes.txt`` and ``manage.c`` of OpenVPN 2.6. The answer to a command is one line ``SUCCESS: …``
or ``ERROR: …``, or lines that end in ``END``. Lines that begin with ``>`` are events, which may stand anywhere between
those. An event about a client is followed by ``>CLIENT:ENV,…`` lines, which become part of it.

What a version of OpenVPN may tell that we don't know becomes :class:`Other`: events are never worth losing the
connection for. What would make us grow without end (a line, a block) is given up with an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from appliance.core.errors import CorruptError, Fault, InvalidError

LINE_MAX: Final = 16 * 1024
"""Bytes of one line; OpenVPN itself cuts at 10,240 (``ERR_BUF_SIZE``)."""
BLOCK_MAX: Final = 2_000
"""Lines of one ``ENV`` block; a certificate chain of four takes about 60."""
REPLY_MAX: Final = 16 * 1024 * 1024
"""Bytes of one answer: the status of 10,000 clients with three networks each fits."""
WORD_MAX: Final = 255
"""Bytes of one word of a command (``OPTION_PARM_SIZE``)."""
_SECRET: Final = frozenset({"password", "auth_token"})
_STEPS: Final = frozenset({"CONNECT", "REAUTH", "ESTABLISHED", "DISCONNECT", "CR_RESPONSE"})
_PROMPT: Final = b"ENTER PASSWORD:"


# Answers


@dataclass(frozen=True, slots=True)
class Success:
    """``SUCCESS: …``: a command was done."""

    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """``ERROR: …``: a command was refused."""

    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an answer that has several."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The end of an answer that has several lines."""


@dataclass(frozen=True, slots=True)
class PasswordPrompt:
    """The interface wants a password of its own before anything else."""


Answer = Success | Failure | Row | End | PasswordPrompt


# Events


@dataclass(frozen=True, slots=True)
class Info:
    """``>INFO:``: the greeting of a new connection, and remarks."""

    text: str


@dataclass(frozen=True, slots=True)
class Hold:
    """``>HOLD:``: the daemon waits for ``hold release``, ``wait_s`` seconds if nobody says so (0: for ever)."""

    text: str
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """``>STATE:``, and a line of the answer to ``state``. ``at``: seconds since 1970. What isn't told is empty."""

    at: int
    name: str
    detail: str = ""
    address4: str = ""
    remote: str = ""
    remote_port: str = ""
    local: str = ""
    local_port: str = ""
    address6: str = ""


@dataclass(frozen=True, slots=True)
class ByteCount:
    """``>BYTECOUNT_CLI:``: bytes of a client since it connected, as the server counts them."""

    cid: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class OwnByteCount:
    """``>BYTECOUNT:``: bytes of a daemon that is a client itself."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Log:
    """``>LOG:``. ``at``: seconds since 1970; ``flags``: of I, F, N, W, D."""

    at: int
    flags: str
    text: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """``>FATAL:``: the daemon is about to end, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class PasswordAsked:
    """``>PASSWORD:``: a password is wanted or was wrong. A token that the server has given isn't repeated here."""

    text: str


@dataclass(frozen=True, slots=True)
class ClientStep:
    """``>CLIENT:CONNECT``, ``REAUTH``, ``ESTABLISHED``, ``DISCONNECT`` or ``CR_RESPONSE`` with its variables.

    Without ``management-client-auth``, which we never use (nobody gets in when the manager is dead), OpenVPN tells
    ``ESTABLISHED`` alone. ``fields`` has the variables without passwords; ``IV_…`` are what the client says of itself.
    """

    step: str
    cid: int
    kid: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """``>CLIENT:ADDRESS``: an address or network is reached through a client. ``primary``: its own address."""

    cid: int
    address: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Other:
    """An event that isn't known, or isn't as it should be."""

    source: str
    text: str


Event = (
    Info | Hold | State | ByteCount | OwnByteCount | Log | Fatal | PasswordAsked | ClientStep | ClientAddress | Other
)
EVENTS: Final = (
    Info, Hold, State, ByteCount, OwnByteCount, Log, Fatal, PasswordAsked, ClientStep, ClientAddress, Other,
)  # fmt: skip
Message = Answer | Event


def command(*words: str) -> bytes:
    """A command as bytes, each word quoted as OpenVPN's parser wants it.

    :raises InvalidError: a line break or NUL, which would smuggle in another command, or a word that OpenVPN would cut.
    """
    for word in words:
        path = f"openvpn/{words[0]!r}"
        if any(mark in word for mark in "\r\n\0"):
            raise InvalidError([Fault(path, "line breaks can't be sent to OpenVPN", error_id="vpn_command")])
        if len(word.encode()) > WORD_MAX:
            message = f"a word of {len(word.encode())} bytes; OpenVPN takes {WORD_MAX}"
            raise InvalidError([Fault(path, message, error_id="vpn_command")])
    return (" ".join(map(quoted, words)) + "\n").encode()


def quoted(word: str) -> str:
    """A word as OpenVPN's command line and configuration files want it (``management-notes.txt``, Command Parsing)."""
    plain = word and all(mark.isalnum() or mark in "-_./:@" for mark in word)
    return word if plain else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Parser:
    """Collects bytes as they come and gives out messages. After an error it is of no use any more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._step: ClientStep | None = None
        self._fields: dict[str, str] = {}
        self._lines = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take in ``data``; the messages that it completes.

        :raises CorruptError: ``vpn_protocol``: a line or a block without end.
        """
        searched, begin = len(self._buffer), 0
        self._buffer += data
        found: list[Message] = []
        while (end := self._buffer.find(b"\n", max(begin, searched))) >= 0:
            if end - begin > LINE_MAX:
                raise CorruptError("the VPN daemon sent a line without end", error_id="vpn_protocol")
            found += self._line(self._buffer[begin:end].rstrip(b"\r").decode("utf-8", errors="replace"))
            begin = end + 1
        del self._buffer[:begin]
        if len(self._buffer) > LINE_MAX:
            raise CorruptError("the VPN daemon sent a line without end", error_id="vpn_protocol")
        if self._buffer == _PROMPT:  # the only thing that ends without a line break
            self._buffer.clear()
            found.append(PasswordPrompt())
        return found

    def _line(self, line: str) -> list[Message]:
        if not line.startswith(">"):
            return [_answer(line)]
        source, _, text = line[1:].partition(":")
        if source == "CLIENT":
            return self._client(text)
        return [_event(source, text)]

    def _client(self, text: str) -> list[Message]:
        kind, _, rest = text.partition(",")
        if kind == "ENV":
            return self._variable(rest)
        broken: list[Message] = [Other("CLIENT", "a block without end")] if self._step else []
        self._step = None
        numbers = rest.split(",")
        if kind == "ADDRESS":
            return [*broken, _client_address(rest, numbers)]
        cid, kid = parse_number(numbers[0]), parse_number(numbers[1]) if len(numbers) > 1 else None
        if kind not in _STEPS or cid is None:
            return [*broken, Other("CLIENT", text)]
        self._step, self._fields, self._lines = ClientStep(kind, cid, kid), {}, 0
        return broken

    def _variable(self, text: str) -> list[Message]:
        if self._step is None:
            return [Other("CLIENT", "a variable of no client")]
        if text == "END":
            step, self._step = self._step, None
            return [ClientStep(step.step, step.cid, step.kid, self._fields)]
        self._lines += 1
        if self._lines > BLOCK_MAX:
            raise CorruptError("the VPN daemon sent a block without end", error_id="vpn_protocol")
        name, equals, value = text.partition("=")
        if equals and name not in _SECRET:
            self._fields[name] = value
        return []


def _answer(line: str) -> Answer:
    if line == "END":
        return End()
    for kind, mark in ((Success, "SUCCESS:"), (Failure, "ERROR:")):
        if line.startswith(mark):
            return kind(line.removeprefix(mark).strip())
    return Row(line)


def _event(source: str, text: str) -> Event:
    parts = text.split(",")
    made: Event | None = None
    match source:
        case "INFO":
            made = Info(text)
        case "FATAL":
            made = Fatal(text)
        case "HOLD":
            said, _, wait = text.rpartition(":")
            made = Hold(said or text, parse_number(wait) or 0)
        case "STATE":
            made = parse_state(text)
        case "BYTECOUNT_CLI":
            counts = [parse_number(part) for part in parts]
            if len(counts) == 3:
                cid, received, sent = counts
                made = ByteCount(cid, received, sent) if None not in (cid, received, sent) else None  # type: ignore[arg-type]
        case "BYTECOUNT":
            counts = [parse_number(part) for part in parts]
            if len(counts) == 2:
                received, sent = counts
                made = OwnByteCount(received, sent) if None not in (received, sent) else None  # type: ignore[arg-type]
        case "LOG":
            at = parse_number(parts[0])
            if at is not None and len(parts) > 2:
                made = Log(at, parts[1], ",".join(parts[2:]))
        case "PASSWORD":
            made = PasswordAsked("Auth-Token" if text.startswith("Auth-Token") else text)
    return made or Other(source, "" if source == "PASSWORD" else text)


def parse_state(text: str) -> State | None:
    """A state as ``state`` and ``>STATE:`` give it; ``None`` when it isn't one."""
    at, _, rest = text.partition(",")
    fields = rest.split(",")
    number = parse_number(at)
    if number is None or not fields[0]:
        return None
    return State(number, *fields[:8])


def _client_address(rest: str, parts: list[str]) -> Event:
    cid = parse_number(parts[0])
    if cid is None or len(parts) != 3 or parts[2] not in {"0", "1"}:
        return Other("CLIENT", f"ADDRESS,{rest}")
    return ClientAddress(cid, parts[1], parts[2] == "1")


def parse_number(text: str) -> int | None:
    """A number as OpenVPN prints it: below 2^64, ASCII digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
