"""A new edge hands in its request at the centre's gate, and becomes a branch.

It says nothing of its secret before the other side has shown the root that the invitation names: whoever sits at the centre's address and isn't the
centre learns nothing. The clock isn't asked: it may never have been set.

Centres are tried in the order of the invitation, each at all addresses that its name has. What happens when…

* one is silent, refuses the connection, or isn't ours: the next is tried, and each is named if none was left;
* the centre refuses: that is its last word; nobody is told whether the invitation is wrong, was used, has run out or was withdrawn;
* others are being served: it is tried again after some seconds, three times;
* it is killed or loses the connection, at any moment: the key waits on the disk; the same invitation gives the same certificate for ten minutes;
* the other side sends nothing, or one octet a minute, or without end: the connection is over after half a minute, and after four mebibytes.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from appliance.core.errors import CentralinoError, CorruptError, RefusedError, UnavailableError
from appliance.i18n import later
from appliance.vpn.enrolment.invitation import Centre, Invitation
from appliance.vpn.enrolment.proof import root_behind
from appliance.vpn.enrolment.wire import ANSWER_MAX, AUTHORITY, ENROL, TALK_S, Answer, Authority, Request, Trouble
from appliance.vpn.slices.formats import FORMATS

CONNECT_S: Final = 5.0
ADDRESSES_MAX: Final = 6
"""Addresses of one name that are tried."""
BUSY_TRIES: Final = 3
BUSY_S: Final = 7.0


class Identity(Protocol):
    """What this needs of :class:`appliance.edge.identity.Identity`."""

    def prepare(self) -> bytes: ...

    def abandon(self) -> None: ...

    def install(self, certificate: bytes, authority: bytes, tunnel_key: bytes, slice: bytes) -> Any: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, for who waits. ``kind``: ``key``, ``trying``, ``silent``, ``stranger``, ``busy``, ``asking``, ``installing``."""

    kind: str
    centre: Centre | None = None
    why: str = ""


def enrol(
    invitation: Invitation,
    identity: Identity,
    *,
    tell: Callable[[Step], None] = lambda _step: None,
    busy_s: float = BUSY_S,
    talk_s: float = TALK_S,
) -> Answer:
    """Hand in a request for a key of this edge's own, and put in force what is granted.

    :raises UnavailableError: ``centre_silent``, ``centre_busy``; :raises RefusedError: ``not_our_centre``, ``invitation_refused``,
        ``centre_cannot``; :raises CorruptError: ``gate_garbled``; and what :meth:`Identity.prepare` and :meth:`Identity.install` raise.
    """
    tell(Step("key"))
    try:
        answer = _asked(invitation, _request(invitation, identity), tell, busy_s, talk_s)
    except _SpentError:  # an enrolment of before that was revoked since
        identity.abandon()
        try:
            answer = _asked(invitation, _request(invitation, identity), tell, busy_s, talk_s)
        except _SpentError as error:
            raise error.told from None
    tell(Step("installing"))
    identity.install(answer.chain, answer.root, answer.tls_crypt_key, answer.slice)
    return answer


def _request(invitation: Invitation, identity: Identity) -> Request:
    return Request(invitation.secret.text, identity.prepare(), FORMATS)


def _asked(
    invitation: Invitation, request: Request, tell: Callable[[Step], None], busy_s: float, talk_s: float
) -> Answer:  # fmt: skip
    silent: list[str] = []
    stranger: RefusedError | None = None
    for centre in invitation.centres:
        for turn in range(BUSY_TRIES):
            tell(Step("trying", centre))
            try:
                return _talked(centre, invitation, request, tell, talk_s)
            except _BusyError:
                tell(Step("busy", centre))
                if turn + 1 == BUSY_TRIES:
                    raise _busy(centre) from None
                time.sleep(busy_s)
            except _SilentError as error:
                tell(Step("silent", centre, str(error)))
                silent.append(f"{centre}: {error}")
                break
            except RefusedError as error:
                if error.error_id != "not_our_centre":
                    raise
                tell(Step("stranger", centre))
                stranger = error
                break
    if stranger is not None:
        raise stranger
    raise UnavailableError(
        f"the centre doesn't answer ({'; '.join(silent)})",
        "does the internet work here? At the centre: does an invitation wait (centralino vpn invitations), and does the router there"
        " pass on TCP as well as UDP?",
        error_id="centre_silent",
    )


class _SilentError(Exception):
    """Nobody there, or nobody who speaks. The text is for people."""


class _SpentError(Exception):
    """The key had a certificate already: it needs another. Carries what the centre said."""

    def __init__(self, told: RefusedError) -> None:
        super().__init__(told)
        self.told = told


class _BusyError(Exception):
    """Others are being served."""


def _talked(
    centre: Centre, invitation: Invitation, request: Request, tell: Callable[[Step], None], talk_s: float
) -> Answer:  # fmt: skip
    with _connected(centre, talk_s) as (connection, certificate):
        try:
            status, body = _said(connection, "GET", AUTHORITY)
            if status != 200:
                raise _stranger(centre)
            shown = Authority.read(body)
        except CorruptError:
            raise _stranger(centre) from None
        root = root_behind(shown.root, shown.chain, certificate)
        if root is None or not invitation.knows(root):
            raise _stranger(centre)
        tell(Step("asking", centre))
        status, body = _said(connection, "POST", ENROL, request.body())
    return _read(centre, status, body, shown.root)


def _read(centre: Centre, status: int, body: bytes, root: bytes) -> Answer:
    match status:
        case 200:
            answer = Answer.read(body)
            if answer.root != root:
                raise CorruptError(
                    "the centre gave another root than it showed", "report this: it can't be", error_id="gate_garbled"
                )
            return answer
        case 403:
            raise RefusedError(
                "the centre refuses this invitation: it is wrong, was used by another edge, has run out, or was withdrawn",
                "compare the code once more; else have another made: centralino vpn enrol SITE", error_id="invitation_refused",
            )  # fmt: skip
        case 422:
            told = Trouble.read(body)
            error = RefusedError(
                f"the centre can't enrol this edge: {told.message}", told.hint, error_id="centre_cannot"
            )
            raise _SpentError(error) if told.error_id == "key_reused" else error
        case 429:
            raise _BusyError
    raise CorruptError(
        f"{centre} answered what nobody understands ({status})", "is it a centre of this system, of another release?",
        error_id="gate_garbled",
    )  # fmt: skip


def _said(connection: http.client.HTTPConnection, verb: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body. :raises _SilentError: the connection broke off."""
    try:
        connection.request(verb, path, body or None)
        answer = connection.getresponse()
        said = answer.read(ANSWER_MAX + 1)
        if len(said) > ANSWER_MAX or (answer.length or 0) > 0:
            raise _SilentError("it never ends")
        return answer.status, said
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _SilentError(_why(error, later("the connection broke off"))) from None


@contextmanager
def _connected(centre: Centre, talk_s: float) -> Iterator[tuple[http.client.HTTPConnection, bytes]]:
    """A TLS connection that lasts ``talk_s`` seconds at most, whatever the other side does, and the other side's certificate (DER).

    :raises _SilentError: there is none.
    """
    with _dialled(centre) as plain, socket.socket(fileno=os.dup(plain.fileno())) as other_end:  # TLS takes the first
        cut = threading.Timer(talk_s, _cut, (other_end,))
        cut.daemon = True
        cut.start()
        try:
            with _tls().wrap_socket(plain) as secure:
                connection = http.client.HTTPConnection("gate", timeout=talk_s)
                connection.sock = secure
                connection.auto_open = 0  # never by itself, and without TLS
                yield connection, secure.getpeercert(binary_form=True) or b""
        except (OSError, ValueError) as error:
            raise _SilentError(_why(error, later("it speaks no TLS of ours"))) from None
        finally:
            cut.cancel()
            cut.join()


def _dialled(centre: Centre) -> socket.socket:
    try:
        found = socket.getaddrinfo(centre.host, centre.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _SilentError(_why(error, later("the name isn't known"))) from None
    why = later("it has no address")
    for family, kind, protocol, _name, address in found[:ADDRESSES_MAX]:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(CONNECT_S)
            made.connect(address)
            made.settimeout(TALK_S)
        except OSError as error:
            made.close()
            why = _why(error, later("it can't be reached"))
        else:
            return made
    raise _SilentError(why)


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _tls() -> ssl.SSLContext:
    """Whom we talk to is found out by the invitation's root, with nothing said before (:mod:`appliance.vpn.enrolment.proof`): the dates that
    TLS would look at are no help to a clock that was never set."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def _why(error: Exception, otherwise: str) -> str:
    if isinstance(error, TimeoutError):
        return later("no answer")
    text = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    return text or otherwise


def _stranger(centre: Centre) -> RefusedError:
    return RefusedError(
        f"{centre} is not the centre of this invitation: its root is another",
        "is the address right, and the invitation of this system? Otherwise somebody sits in between: nothing was told to it",
        error_id="not_our_centre",
    )


def _busy(centre: Centre) -> CentralinoError:
    return UnavailableError(
        f"{centre} is busy with others, or was asked too often from here",
        "wait a minute, then try again",
        error_id="centre_busy",
    )
