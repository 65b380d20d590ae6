r"""Torture messages: one of our own for each of the 49 sections of RFC 4475, built from the trait that the section describes.

The names are the RFC's. Hosts, tags, branches and bodies are ours; what is odd about a message is said where it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

CRLF: Final = b"\r\n"
SDP: Final = CRLF.join(
    line.encode()
    for line in (
        "v=0",
        "o=tester 1 1 IN IP4 192.0.2.21",
        "s=torture",
        "c=IN IP4 192.0.2.21",
        "t=0 0",
        "m=audio 41000 RTP/AVP 8 0",
        "a=rtpmap:8 PCMA/8000",
        "",
    )
)
_BUILDERS: Final[dict[str, tuple[str, Callable[[str], bytes]]]] = {}


def torture_names() -> list[str]:
    """Short names of all messages, sorted."""
    return sorted(_BUILDERS)


def torture_message(name: str) -> bytes:
    """The message of that name, as it goes on the wire."""
    return _BUILDERS[name][1](name)


def section(name: str) -> str:
    """The section of RFC 4475 that describes the message's trait."""
    return _BUILDERS[name][0]


def _of(number: str) -> Callable[[Callable[[str], bytes]], Callable[[str], bytes]]:
    def register(build: Callable[[str], bytes]) -> Callable[[str], bytes]:
        _BUILDERS[build.__name__] = (number, build)
        return build

    return register


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _lines(start: str | bytes, headers: Sequence[tuple[str, str | bytes]], body: bytes = b"") -> bytes:
    """A message from its very lines."""
    head = [_bytes(start), *(_bytes(name) + b": " + _bytes(value) for name, value in headers), b"", b""]
    return CRLF.join(head) + body


def _message(start: str | bytes, name: str, *, body: bytes = b"", more: Sequence[tuple[str, str | bytes]] = (),
             **changed: str | bytes | None) -> bytes:  # fmt: skip
    """An ordinary message with some headers changed (``_`` for ``-``; None leaves one out) and ``more`` after them."""
    method = _bytes(start).split(b" ")[0].decode(errors="replace")
    headers: dict[str, str | bytes | None] = {
        "Via": f"SIP/2.0/UDP client.example.com:5070;branch=z9hG4bK-ours-{name}",
        "Max-Forwards": "68",
        "From": f"<sip:tester@example.com>;tag=from-{name}",
        "To": "<sip:desk@example.com>",
        "Call-ID": f"{name}.torture@client.example.com",
        "CSeq": f"71 {method}",
        "Contact": "<sip:tester@client.example.com:5070>" if method in ("INVITE", "REGISTER") else None,
        "Content-Type": "application/sdp" if body else None,
        "Content-Length": str(len(body)),
    }
    headers |= {key.replace("_", "-"): value for key, value in changed.items()}
    kept = [(key, value) for key, value in headers.items() if value is not None]
    return _lines(start, [*kept, *more], body)


def _invite(name: str, uri: str = "sip:desk@example.com", *, more: Sequence[tuple[str, str | bytes]] = (),
            body: bytes = SDP, **changed: str | bytes | None) -> bytes:  # fmt: skip
    return _message(f"INVITE {uri} SIP/2.0", name, body=body, more=more, **changed)


def _options(name: str, uri: str = "sip:desk@example.com", *, more: Sequence[tuple[str, str | bytes]] = (),
             **changed: str | bytes | None) -> bytes:  # fmt: skip
    return _message(f"OPTIONS {uri} SIP/2.0", name, body=b"", more=more, **changed)


def _register(name: str, *, more: Sequence[tuple[str, str | bytes]] = (), **changed: str | bytes | None) -> bytes:
    return _message("REGISTER sip:example.com SIP/2.0", name, body=b"", more=more, **changed)


# --- 3.1.1: valid, however odd ---


@_of("3.1.1.1")
def wsinv(name: str) -> bytes:
    """Folded lines and spaces wherever the grammar lets them be, short names, mixed case, an empty Subject."""
    return _lines(
        "INVITE sip:desk@example.com;flag SIP/2.0",
        [
            ("tO ", b"\r\n\t<sip:desk@example.com>  ;\r\n  tag   =  to-wsinv"),
            ("f  ", rb'"Tester \"\\\""   <sip:tester@example.com>' + b"\r\n ;\r\n  tag = from-wsinv"),
            ("mAx-FoRwArDs", "0068"),
            ("I", f"{name}.torture@client.example.com"),
            ("cSEQ", b"007\r\n   INVITE"),
            ("Via  ", b"SIP  /   2.0\r\n  / UDP\r\n   192.0.2.22;branch=z9hG4bK-first"),
            ("s ", b""),
            ("X-New", b"one word\r\n   and its continuation"),
            ("X-Stranger", ",,;;=;,"),
            ("v", b"SIP / 2.0 / TCP  edge.example.com  ;\r\n branch = z9hG4bK-second , SIP/2.0/UDP 192.0.2.23\r\n ;branch=third"),
            ("Route", b"\r\n <sip:proxy.example.com;lr;odd=yes;bare>"),
            ("m", b'"A \\"name\\"" <sip:tester@client.example.com>;\r\n   extra = 1 ;\r\n q = 0.25'),
            ("c", "application/sdp"),
            ("l  ", str(len(SDP))),
        ],
        SDP,
    )  # fmt: skip


@_of("3.1.1.2")
def intmeth(name: str) -> bytes:
    """Every character that a method, user part, token and quoted text may hold, control characters and UTF-8 among them."""
    method = "Odd-METHOD.0!%*_+`'~"
    uri = "sip:a-_.!~*'()&=+$,;?/z:p-_.!~*'()&=+$,@example.com"
    return _message(
        f"{method} {uri} SIP/2.0",
        name,
        Via="SIP/2.0/TCP client.example.com;branch=z9hG4bK-.!%*_+`'~",
        To=b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <' + uri.encode() + b">",
        From="tok.1~` tok'2*% <sip:tester@example.com>;p!%*_+`'~-.=\"àèìòù €\";tag=_t~o!k.e%n*+`'-",
        Call_ID='word%!*_+`\'~()<>:\\"/[]?{}@word.()<>:\\"/[]?{}',
        Max_Forwards="255",
        more=[("X-!%*_+`'~.", "\N{ZERO WIDTH NO-BREAK SPACE}centralino è \N{TELEPHONE RECEIVER}")],
    )


@_of("3.1.1.3")
def esc01(name: str) -> bytes:
    """Percent-escapes in user, parameters and their values; an escaped colon and @ are part of the user."""
    return _invite(
        name,
        "sip:sips%3Adesk%40example.com@example.com",
        To="<sip:d%65s%6B@example.com>",
        From=f"<sip:front%20desk@example.com>;tag=from-{name}",
        Contact="<sip:te%73ter@client.example.com;%6C%72;n%61me=v%61lue%2525>",
    )


@_of("3.1.1.4")
def escnull(name: str) -> bytes:
    """Escaped zero bytes in users: one, and two, are different users."""
    user = "<sip:zero-%00-zero@example.com>"
    return _register(
        name, From=f"{user};tag=from-{name}", To=user, Contact="<sip:%00@client.example.com>",
        more=[("Contact", "<sip:%00%00@client.example.com>")],
    )  # fmt: skip


@_of("3.1.1.5")
def esc02(name: str) -> bytes:
    """A percent sign where nothing is escaped: method and display name are plain tokens."""
    return _message(
        "RE%47IST%45R sip:desk@example.com SIP/2.0",
        name,
        To='"%D%e%s%k" <sip:desk@example.com>',
        From=f'"%41%6Ena" <sip:tester@example.com>;tag=f%72om-{name}',
        Contact="<sip:tester@client.example.com>",
        more=[("%43ontact", "<sip:other@client.example.com>")],
    )


@_of("3.1.1.6")
def lwsdisp(name: str) -> bytes:
    """No space between the display name and its angle bracket."""
    return _options(name, From=f"tester<sip:tester@example.com>;tag=from-{name}")


@_of("3.1.1.7")
def longreq(name: str) -> bytes:
    """Long values everywhere, and more Vias than any path has."""
    long = "long" * 40
    return _invite(
        name,
        To=f'"I have a {"very " * 60}long name" <sip:desk@example.com:5060;{long}={long};{long}2="{long}">',
        From=f"<sip:{'tester' * 30}@example.com>;tag={'t' * 220};{long}=v",
        Call_ID=f"{name}.{'call' * 80}",
        Contact=f"<sip:{'amazing' * 30}@client.example.com>",
        more=[
            (f"X-{'Unknown-' * 25}Header", f"{'value ' * 60}; {long}={long}"),
            *(("Via", f"SIP/2.0/TCP hop{n}.example.com:{5060 + n};branch=z9hG4bK-{n}-{'b' * 60}") for n in range(30)),
        ],
    )


@_of("3.1.1.8")
def dblreq(name: str) -> bytes:
    """One datagram with a whole REGISTER, and an INVITE behind its end that isn't part of it."""
    return _register(name) + _invite(f"{name}-behind")


@_of("3.1.1.9")
def semiuri(name: str) -> bytes:
    """Semicolons inside the user part: no parameters."""
    return _options(name, "sip:desk;phone-context=hall;a@example.com", To="<sip:desk;phone-context=hall;a@example.com>")


@_of("3.1.1.10")
def transports(name: str) -> bytes:
    """Vias of every known transport and of an unknown one."""
    kinds = ("TCP", "SCTP", "TLS", "UNHEARDOF")
    more: list[tuple[str, str | bytes]] = [
        ("Via", f"SIP/2.0/{kind} hop-{kind.lower()}.example.com;branch=z9hG4bK-{kind.lower()}") for kind in kinds
    ]
    return _options(name, more=more)


@_of("3.1.1.11")
def mpart01(name: str) -> bytes:
    """A body of several parts, one of them binary."""
    boundary = "7a9cf"
    parts = [
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\nPronto?\r\n",
        b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + CRLF,
    ]
    body = b"".join(f"--{boundary}\r\n".encode() + part for part in parts) + f"--{boundary}--\r\n".encode()
    return _message(
        "MESSAGE sip:desk@example.com SIP/2.0", name, body=body,
        Content_Type=f'multipart/mixed; boundary="{boundary}"',
    )  # fmt: skip


@_of("3.1.1.12")
def unreason(name: str) -> bytes:
    """A reason phrase beyond ASCII."""
    return _message("SIP/2.0 200 = 2**3 * 25, perché нет", name, CSeq="71 INVITE", body=SDP)


@_of("3.1.1.13")
def noreason(name: str) -> bytes:
    """No reason phrase, but the space before it."""
    return _message("SIP/2.0 100 ", name, CSeq="71 INVITE")


# --- 3.1.2: invalid ---


@_of("3.1.2.1")
def badinv01(name: str) -> bytes:
    """Separators with nothing between them in Via and Contact."""
    return _invite(
        name,
        Via="SIP/2.0/UDP 192.0.2.24;;,;,,",
        Contact='"Tester" <sip:tester@client.example.com>;;,;;,,',
    )


@_of("3.1.2.2")
def clerr(name: str) -> bytes:
    """Content-Length says far more than there is."""
    return _invite(name, Content_Length="9999")


@_of("3.1.2.3")
def ncl(name: str) -> bytes:
    """Content-Length below zero."""
    return _invite(name, Content_Length="-999")


@_of("3.1.2.4")
def scalar02(name: str) -> bytes:
    """Numbers of a request beyond every limit: CSeq, Max-Forwards, Expires."""
    return _register(
        name, CSeq="36893488147419103232 REGISTER", Max_Forwards="300",
        Contact="<sip:tester@client.example.com>;expires=280297596632815", more=[("Expires", "10000000000000000000")],
    )  # fmt: skip


@_of("3.1.2.5")
def scalarlg(name: str) -> bytes:
    """Numbers of a response beyond every limit: CSeq, Retry-After, Warning."""
    return _message(
        "SIP/2.0 503 Service Unavailable", name, CSeq="9292394834772304023312 OPTIONS",
        more=[("Retry-After", "949302838503028349304023988"), ("Warning", '1812 client.example.com "in bits"')],
    )  # fmt: skip


@_of("3.1.2.6")
def quotbal(name: str) -> bytes:
    """A display name whose quote never ends."""
    return _invite(name, To='"Front desk <sip:desk@example.com>')


@_of("3.1.2.7")
def ltgtruri(name: str) -> bytes:
    """Angle brackets around the Request-URI."""
    return _invite(name, "<sip:desk@example.com>")


@_of("3.1.2.8")
def lwsruri(name: str) -> bytes:
    """A space inside the Request-URI."""
    return _invite(name, "sip:desk@example.com; lr")


@_of("3.1.2.9")
def lwsstart(name: str) -> bytes:
    """Two spaces between the parts of the request line."""
    return _message("INVITE  sip:desk@example.com  SIP/2.0", name, body=SDP)


@_of("3.1.2.10")
def trws(name: str) -> bytes:
    """Spaces after the version at the end of the request line."""
    return _message("OPTIONS sip:desk@example.com SIP/2.0  ", name)


@_of("3.1.2.11")
def escruri(name: str) -> bytes:
    """A Request-URI with headers behind a question mark."""
    return _invite(name, "sip:desk@example.com?Route=%3Csip:proxy.example.com%3E")


@_of("3.1.2.12")
def baddate(name: str) -> bytes:
    """A Date in another time zone than GMT."""
    return _invite(name, more=[("Date", "Sat, 12 Jan 2030 10:00:00 CET")])


@_of("3.1.2.13")
def regbadct(name: str) -> bytes:
    """A Contact with a question mark outside angle brackets: what follows could be the URI's or the header's."""
    return _register(name, Contact="sip:tester@client.example.com?Route=%3Csip:proxy.example.com%3E")


@_of("3.1.2.14")
def badaspec(name: str) -> bytes:
    """Spaces inside a URI in angle brackets."""
    return _options(name, To='"Front desk" < sip:desk@example.com >')


@_of("3.1.2.15")
def baddn(name: str) -> bytes:
    """Display names that aren't tokens and aren't quoted."""
    return _options(
        name, From=f"Front, desk <sip:tester@example.com>;tag=from-{name}", To="Bell, Alex <sip:desk@example.com>"
    )


@_of("3.1.2.16")
def badvers(name: str) -> bytes:
    """A version of SIP that doesn't exist."""
    return _message(
        "OPTIONS sip:desk@example.com SIP/7.0", name, Via=f"SIP/7.0/UDP client.example.com;branch=z9hG4bK-{name}"
    )


@_of("3.1.2.17")
def mismatch01(name: str) -> bytes:
    """The method of the request line isn't that of CSeq."""
    return _options(name, CSeq="8 INVITE")


@_of("3.1.2.18")
def mismatch02(name: str) -> bytes:
    """Neither method is known, and they differ."""
    return _message("NEWMETHOD sip:desk@example.com SIP/2.0", name, body=SDP, CSeq="8 INVITE")


@_of("3.1.2.19")
def bigcode(name: str) -> bytes:
    """A status of more than 32 bits."""
    return _message("SIP/2.0 4294967301 better not break the receiver", name, CSeq="71 INVITE")


# --- 3.2: the transaction layer ---


@_of("3.2.1")
def badbranch(name: str) -> bytes:
    """A branch that is the magic cookie and nothing else."""
    return _options(name, Via="SIP/2.0/UDP client.example.com:5070;branch=z9hG4bK")


# --- 3.3: the application layer ---


@_of("3.3.1")
def insuf(name: str) -> bytes:
    """No Call-ID, From or To."""
    return _invite(name, Call_ID=None, From=None, To=None)


@_of("3.3.2")
def unkscm(name: str) -> bytes:
    """A Request-URI of a scheme that nobody knows."""
    return _options(name, "nobodyknows:desk")


@_of("3.3.3")
def novelsc(name: str) -> bytes:
    """A Request-URI of a registered scheme that has nothing to do with SIP."""
    return _options(name, "soap.beep://192.0.2.25:3002")


@_of("3.3.4")
def unksm2(name: str) -> bytes:
    """Unknown schemes in To, From and Contact of a REGISTER."""
    return _register(
        name, To="isbn:9780000000002", From="<http://www.example.com>;tag=from-unksm2", Contact="<name:front_desk>"
    )


@_of("3.3.5")
def bext01(name: str) -> bytes:
    """Requires extensions that don't exist, of the proxy and of the called."""
    return _options(name, more=[("Require", "wont-exist, neither"), ("Proxy-Require", "nor-this, nor.that")])


@_of("3.3.6")
def invut(name: str) -> bytes:
    """A body of an unknown type."""
    return _invite(name, body=b"<sound>tuu tuu</sound>\r\n", Content_Type="application/unheard-of")


@_of("3.3.7")
def regaut01(name: str) -> bytes:
    """Credentials of an unknown scheme."""
    return _register(name, more=[("Authorization", 'NoOneKnows opaque="here", data=there, "odd"')])


@_of("3.3.8")
def multi01(name: str) -> bytes:
    """Several values of what may be there once: Call-ID, CSeq, From, To, Max-Forwards."""
    again: list[tuple[str, str | bytes]] = [
        ("CSeq", "92 INVITE"),
        ("Call-ID", f"{name}.second@client.example.com"),
        ("To", "<sip:other@example.com>"),
        ("From", "<sip:other@example.com>;tag=second"),
        ("Max-Forwards", "5"),
        ("Contact", "<sip:other@client.example.com>"),
    ]
    return _invite(name, more=again)


@_of("3.3.9")
def mcl01(name: str) -> bytes:
    """Two Content-Lengths that differ."""
    return _message(
        "OPTIONS sip:desk@example.com SIP/2.0", name, body=b"more than nothing, less than said\r\n",
        Content_Type="text/plain", Content_Length="13", more=[("Content-Length", "5")],
    )  # fmt: skip


@_of("3.3.10")
def bcast(name: str) -> bytes:
    """A response whose top Via names a broadcast address: forwarding it would hit everybody."""
    return _message(
        "SIP/2.0 200 OK", name, body=SDP, CSeq="71 INVITE", Via="SIP/2.0/UDP 192.0.2.26;branch=z9hG4bK-bcast-1",
        more=[("Via", "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK-bcast-2"), ("Contact", "<sip:desk@192.0.2.27>")],
    )  # fmt: skip


@_of("3.3.11")
def zeromf(name: str) -> bytes:
    """Max-Forwards has run out."""
    return _options(name, Max_Forwards="0")


@_of("3.3.12")
def cparam01(name: str) -> bytes:
    """REGISTER with a parameter of the Contact header that nobody knows."""
    return _register(name, Contact="sip:tester@client.example.com;nobodyknows")


@_of("3.3.13")
def cparam02(name: str) -> bytes:
    """REGISTER with a parameter of the Contact's URI that nobody knows."""
    return _register(name, Contact="<sip:tester@client.example.com;nobodyknows=it>")


@_of("3.3.14")
def regescrt(name: str) -> bytes:
    """REGISTER of a Contact that would make callers add a Route."""
    return _register(name, Contact="<sip:tester@client.example.com?Route=%3Csip:proxy.example.com%3E>")


@_of("3.3.15")
def sdp01(name: str) -> bytes:
    """An answer is wanted in a type that doesn't carry sessions."""
    return _invite(name, more=[("Accept", "text/not-a-session")])


# --- 3.4: older than RFC 3261 ---


@_of("3.4.1")
def inv2543(name: str) -> bytes:
    """As RFC 2543 wrote it: no branch, no From tag, no Max-Forwards, no Contact, a bare To."""
    return _invite(
        name, Via="SIP/2.0/UDP client.example.com", Max_Forwards=None, From="<sip:tester@example.com>", To="sip:desk@example.com",
        Contact=None, Content_Length=None, more=[("Record-Route", "<sip:proxy.example.com;maddr=192.0.2.28>")],
    )  # fmt: skip
