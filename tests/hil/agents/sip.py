"""SIP messages for agents that speak it themselves: making requests, answers, credentials and in-dialog requests. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from sipmessage import URI, AuthParameters, CSeq, Request, Response


def wire(message: Request | Response) -> bytes:
    """The bytes to send, with the right Content-Length."""
    message.headers.set("Content-Length", str(len(message.body)))
    return bytes(message)


def new_request(method: str, uri: str, sender: str, to: str, contact: str, *, transport: str, via: str = "") -> Request:
    """A request outside of a dialog. `sender` gets a tag; `via`: sent-by, a made-up host where the transport is a WebSocket."""
    request = Request(method, URI.parse(uri))
    request.headers.add("Via", f"SIP/2.0/{transport} {via or _invalid()};branch=z9hG4bK{secrets.token_hex(8)};rport")
    request.headers.add("Max-Forwards", "70")
    request.headers.add("From", f"{sender};tag={secrets.token_hex(6)}")
    request.headers.add("To", to)
    request.headers.add("Call-ID", secrets.token_hex(12))
    request.headers.add("CSeq", f"1 {method}")
    request.headers.add("Contact", contact)
    return request


def _invalid() -> str:
    return f"{secrets.token_hex(6)}.invalid"  # RFC 7118 §5.1


def answer(request: Request, code: int, phrase: str, contact: str = "", *, tag: str = "") -> Response:
    """A response; `tag` becomes the To tag where there is none."""
    response = Response(code, phrase)
    for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
        for value in request.headers.getlist(name):
            response.headers.add(name, value)
    if tag and ";tag=" not in response.headers["To"]:
        response.headers.set("To", f"{response.headers['To']};tag={tag}")
    if contact:
        response.headers.add("Contact", contact)
    return response


def authorize(request: Request, challenge: Response, user: str, password: str) -> Request:
    """The request once more with MD5 digest credentials (RFC 7616, `auth`) for a 401 or 407; new branch, next CSeq."""
    proxy = challenge.code == 407
    header = challenge.proxy_authenticate if proxy else challenge.www_authenticate
    if header is None:
        raise ValueError(f"{challenge.code} without a challenge")
    offered = header.parameters
    again = Request(request.method, request.uri, request.body)
    for name in request.headers.keys():  # noqa: SIM118 (not a dictionary)
        for value in request.headers.getlist(name):
            again.headers.add(name, value)
    again.cseq = CSeq(request.cseq.sequence + 1, request.method)
    again.headers.set("Via", re.sub(r"branch=[^;]+", f"branch=z9hG4bK{secrets.token_hex(8)}", request.headers["Via"]))
    cnonce, count, uri = secrets.token_hex(8), "00000001", str(request.uri)
    realm, nonce = offered["realm"], offered["nonce"]
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": uri, "algorithm": "MD5"}
    if "opaque" in offered:
        fields["opaque"] = offered["opaque"]
    if "qop" in offered:
        fields |= {"cnonce": cnonce, "nc": count, "qop": "auth"}
    fields["response"] = digest(
        user, realm, password, request.method, uri, nonce, fields.get("nc", ""), fields.get("cnonce", "")
    )
    text = ", ".join(f"{k}={v}" if k in ("algorithm", "nc", "qop") else f'{k}="{v}"' for k, v in fields.items())
    again.headers.set("Proxy-Authorization" if proxy else "Authorization", f"Digest {text}")
    return again


def digest(
    user: str, realm: str, password: str, method: str, uri: str, nonce: str, count: str = "", cnonce: str = ""
) -> str:
    """The digest response with MD5 (RFC 7616 §3.4.1), with qop=auth when there is a client nonce."""

    def h(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    middle = f"{nonce}:{count}:{cnonce}:auth" if cnonce else nonce
    return h(f"{h(f'{user}:{realm}:{password}')}:{middle}:{h(f'{method}:{uri}')}")


def credentials_match(request: Request, password: str) -> bool:
    """Whether the request's Authorization is right for this password: the registrar's side of `digest`."""
    given = request.authorization or request.proxy_authorization
    if given is None or given.parameters is None:
        return False
    p: AuthParameters = given.parameters
    expected = digest(
        p["username"], p["realm"], password, request.method, p["uri"], p["nonce"], p.get("nc", ""), p.get("cnonce", "")
    )
    return secrets.compare_digest(expected, p["response"])


@dataclass
class Dialog:
    """An established dialog, from one side (RFC 3261 §12)."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    contact: str
    transport: str
    via: str
    sequence: int = field(default=1)

    @classmethod
    def from_response(cls, response: Response, contact: str, *, transport: str, via: str = "") -> Dialog:
        """The caller's side, from the 200."""
        h = response.headers
        routes = h.getlist("Record-Route")[::-1]
        target = str(response.contact[0].uri)
        return cls(
            response.call_id, h["From"], h["To"], target, routes, contact, transport, via, response.cseq.sequence
        )

    @classmethod
    def from_request(
        cls, request: Request, response: Response, contact: str, *, transport: str, via: str = ""
    ) -> Dialog:
        """The callee's side, from the INVITE and our 200."""
        target, h = str(request.contact[0].uri), request.headers
        return cls(
            request.call_id,
            response.headers["To"],
            h["From"],
            target,
            h.getlist("Record-Route"),
            contact,
            transport,
            via,
        )

    def request(self, method: str, *, cseq: int | None = None) -> Request:
        """The next request of the dialog; `cseq` for an ACK."""
        if cseq is None:
            self.sequence += 1
            cseq = self.sequence
        made = new_request(
            method, self.target, "<sip:x>", "<sip:x>", self.contact, transport=self.transport, via=self.via
        )
        for name, value in (
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ):
            made.headers.set(name, value)
        if self.routes:
            made.headers.setlist("Route", self.routes)
        return made

    @staticmethod
    def ack(request: Request, response: Response) -> Request:
        """The ACK of a refusal: the INVITE's transaction, the response's To (RFC 3261 §17.1.1.3)."""
        made = Request("ACK", request.uri)
        for name in ("Via", "Max-Forwards", "From", "Call-ID", "Route"):
            for value in request.headers.getlist(name):
                made.headers.add(name, value)
        made.headers.add("To", response.headers["To"])
        made.headers.add("CSeq", f"{request.cseq.sequence} ACK")
        return made
