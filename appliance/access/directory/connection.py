"""One conversation with one server of a directory: TLS before anything else, and one deadline for the whole of it.

A server that sends a byte now and then is as silent as one that sends none: what counts is when the conversation began. Servers
that refer to others (RFC 4511 section 4.1.10) aren't followed there: nobody has said that those may see passwords.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from appliance.access.directory import messages
from appliance.access.directory.ber import SEQUENCE, BadEncodingError, header
from appliance.access.directory.messages import Answer, Entry, Filter, Result, Scope
from appliance.core.errors import UnavailableError

ENTRIES_MAX: Final = 100
"""Messages of one answer that are looked at: a search for one person has a few."""


class Connection:
    """Opened by its constructor.

    :param deadline: of the monotonic clock, in seconds.
    :raises UnavailableError: ``directory_unreachable``; ``directory_certificate``.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext, *, start_tls: bool, deadline: float) -> None:
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._deadline = deadline
        self._id = 0
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.create_connection((host, port), timeout=self._left())
            if start_tls:
                # Bytes are read one message at a time: what somebody slips in behind the answer meets TLS, not us.
                self._socket.sendall(messages.start_tls(self._next()))
                result = self._result(messages.EXTENDED_ANSWER)
                if not result.right:
                    raise self._error(f"refuses STARTTLS ({result.code})")
            self._socket.settimeout(self._left())
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except UnavailableError:
            self.close()
            raise
        except (OSError, ValueError) as error:  # ValueError: a name that can't be one (IDNA)
            self.close()
            raise self._told(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say good bye, if anybody is there still."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._socket.settimeout(0.2)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.sendall(messages.unbind(self._next()))
        self._socket.close()
        self._socket = None

    def bind(self, dn: str, password: str) -> Result:
        """Prove to be somebody; what holds from now on.

        :raises UnavailableError: as above.
        :raises ValueError: the password is empty, or no text.
        """
        self._send(messages.bind(self._next(), dn, password))
        return self._result(messages.BIND_ANSWER)

    def search(
        self, base: str, scope: Scope, filter: Filter, attributes: Sequence[str], most: int
    ) -> tuple[Result, list[Entry]]:
        """Entries found, at most ``most``, and how it ended. Raises as `bind` does."""
        seconds = max(1, int(self._left()))
        self._send(messages.search(self._next(), base, scope, filter, attributes, most=most, seconds=seconds))
        found: list[Entry] = []
        for _ in range(ENTRIES_MAX):
            answer = self._answer()
            if answer.entry is not None:
                found.append(answer.entry)
            elif answer.result is not None and answer.tag == messages.DONE:
                return answer.result, found
        raise self._error("goes on and on")

    # -- bytes ----------------------------------------------------------------------------------------------------

    def _next(self) -> int:
        self._id += 1
        return self._id

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _send(self, message: bytes) -> None:
        try:
            self._open.settimeout(self._left())
            self._open.sendall(message)
        except OSError as error:
            raise self._told(error) from error

    def _result(self, tag: int) -> Result:
        answer = self._answer()
        if answer.tag != tag or answer.result is None:
            raise self._error("answers something else")
        return answer.result

    def _answer(self) -> Answer:
        try:
            start = self._bytes(2)
            while (found := header(start)) is None:
                start += self._bytes(1)
            tag, _, size = found
            if tag != SEQUENCE:
                raise BadEncodingError("no message")
            answer = messages.answer(self._bytes(size))
        except (OSError, BadEncodingError) as error:
            raise self._told(error) from error
        if answer.id != self._id:
            raise self._error("ends the conversation" if answer.id == 0 else "answers something else")
        return answer

    def _bytes(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._open.settimeout(self._left())
            data = self._open.recv(count - len(found))
            if not data:
                raise ConnectionResetError
            found += data
        return bytes(found)

    @property
    def _open(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError
        return self._socket

    def _told(self, error: Exception) -> UnavailableError:
        """An error of the network in our own terms."""
        match error:
            case ssl.SSLCertVerificationError():
                return self._error(
                    f"has a certificate that isn't good: {error.verify_message}", error_id="directory_certificate"
                )
            case TimeoutError():
                return self._error("is silent", error_id="directory_unreachable")
            case BadEncodingError():
                return self._error(f"doesn't speak LDAP: {error}")
            case ssl.SSLError():
                return self._error("doesn't speak TLS as it should")
            case ConnectionRefusedError():
                return self._error("refuses connections")
            case socket.gaierror():
                return self._error("has a name that nobody knows")
        return self._error("can't be reached, or has gone")

    def _error(self, reason: str, *, error_id: str = "directory_unreachable") -> UnavailableError:
        return UnavailableError(f"the directory server {self._place} {reason}", "centralino doctor", error_id=error_id)
