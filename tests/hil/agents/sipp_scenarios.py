"""SIPp scenarios as text. Each is made of the same few pieces, so they are written once, here.

Every scenario keeps books: it logs `event;Call-ID;time;field0;field2` (for users of a CSV: caller and target) when a
call starts, is answered, is refused and ends. `Sipp.books()` reads them.
"""

from __future__ import annotations

REFUSALS = (403, 404, 408, 410, 480, 486, 487, 488, 500, 501, 502, 503, 504, 600, 603, 604)
FIELDS = "[field0];[field2]"


def scenario(*parts: str) -> str:
    body = "\n".join(parts)
    return f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="s">\n{body}\n</scenario>\n'


def log(event: str, fields: str = "") -> str:
    """An action that writes one line of the books.

    Actions belong into `recv`, or into a `nop` before anything was sent: a message that arrives while SIPp is at a
    `nop` is an unexpected one.
    """
    return f'<log message="{event};[call_id];[timestamp];{fields}"/>'


def nop(*actions: str) -> str:
    return f"<nop><action>{''.join(actions)}</action></nop>"


def send(text: str, **attributes: str) -> str:
    lines = "\n".join(line.strip() for line in text.strip().splitlines())
    return f"<send{_attributes(attributes)}><![CDATA[\n\n{lines}\n\n]]></send>"


def recv(**attributes: str) -> str:
    action = attributes.pop("action", "")
    body = f"><action>{action}</action></recv>" if action else "/>"
    return f"<recv{_attributes(attributes)}{body}"


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(f' {name}="{value}"' for name, value in attributes.items())


def label(name: int) -> str:
    return f'<label id="{name}"/>'


def pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


def play(tone: str) -> str:
    """An action: send a file of raw A-law for ever, if there is one."""
    return f'<exec rtp_stream="{tone},-1,8"/>' if tone else ""


SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=sendrecv"""


def _sdp(tone: str) -> str:
    return SDP.format(port="[rtpstream_audio_port]" if tone else "[media_port]")


def _request(
    method: str, cseq: int, uri: str, to: str, more: str, *, auth: bool = False, contact: str = "sip:[field0]"
) -> str:
    credentials = "[field1]" if auth else ""  # the CSV holds the whole keyword: SIPp nests none
    lines = [
        f"{method} {uri} SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        "Max-Forwards: 70",
        'From: "[field0]" <sip:[field0]@[remote_ip]>;tag=[pid]s[call_number]',
        f"To: {to}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        f"Contact: <{contact}@[local_ip]:[local_port];transport=[transport]>",
        credentials,
        more,
    ]
    return "\n".join(line for line in lines if line)


EMPTY = "Content-Length: 0"
TARGET = "sip:[field2]@[remote_ip]:[remote_port]"
ANSWERED_TO = "<sip:[field2]@[remote_ip]>[peer_tag_param]"


def register(contact_port: int, expires_s: int) -> str:
    """REGISTER of each user of the CSV with a contact at `contact_port`; digest when asked for."""
    uri, to = "sip:[remote_ip]:[remote_port]", "<sip:[field0]@[remote_ip]>"
    more = f"Expires: {expires_s}\n{EMPTY}"

    def text(cseq: int, auth: bool) -> str:
        return _request("REGISTER", cseq, uri, to, more, auth=auth).replace(
            "[local_port];transport", f"{contact_port};transport"
        )

    return scenario(
        send(text(1, False), retrans="500"),
        recv(response="100", optional="true"),
        recv(response="200", optional="true", next="9"),
        recv(response="401", auth="true"),
        send(text(2, True), retrans="500"),
        recv(response="100", optional="true"),
        recv(response="200"),
        label(9),
        nop(log("end", FIELDS)),
    )


def caller(talk_ms: int | None, tone: str = "", headers: str = "", refer_to: str = "") -> str:
    """Calls field2 as field0; digest when asked for; talks, hangs up. With `refer_to`, transfers blindly instead.

    `talk_ms` None: talks until the other side hangs up, and takes UPDATE, by which the engine may tell in between who is
    connected: who doesn't is told by another INVITE.
    """
    allow = "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE" if talk_ms is None else ""
    invite = "\n".join(part for part in (allow, headers, _sdp(tone)) if part)
    finals = [
        recv(response=str(code), optional="true", next=str(code), action=log(f"refused {code}", FIELDS))
        for code in REFUSALS
    ]
    progress = [recv(response=code, optional="true") for code in ("100", "180", "181", "183")]
    return scenario(
        nop(log("start", FIELDS)),
        send(_request("INVITE", 1, TARGET, f"<{TARGET}>", invite), retrans="500", start_rtd="1"),
        *progress,
        *finals,
        recv(response="401", auth="true", optional="true", next="1"),
        recv(response="200", rtd="1", rrs="true", next="2", action=log("answer", FIELDS)),
        label(1),
        send(_request("ACK", 1, TARGET, ANSWERED_TO, EMPTY)),
        send(_request("INVITE", 2, TARGET, f"<{TARGET}>", invite, auth=True), retrans="500"),
        *progress,
        *finals,
        recv(response="200", rtd="1", rrs="true", action=log("answer", FIELDS)),
        label(2),
        send(_request("ACK", 2, "[next_url]", ANSWERED_TO, f"[routes]\n{EMPTY}").replace("CSeq: 2", "CSeq: [cseq]")),
        *([nop(play(tone))] if tone else []),
        *(_until_bye() if talk_ms is None else [pause(talk_ms), *(_refer(refer_to) if refer_to else _bye())]),
        '<nop next="99"/>',
        *(_refused(code) for code in REFUSALS),
        label(99),
    )


def _until_bye() -> list[str]:
    return [recv(request="BYE", timeout="900000", action=log("end", FIELDS)), send(_answer("200 OK", EMPTY))]


def _bye() -> list[str]:
    return [
        send(_request("BYE", 4, "[next_url]", ANSWERED_TO, f"[routes]\n{EMPTY}"), retrans="500"),
        recv(response="200", action=log("end", FIELDS)),
    ]


# The subscription that a REFER makes ends with the last NOTIFY; then it is the transferor who hangs up (RFC 5589 §6.1).
OVER = '<ereg regexp="terminated" search_in="hdr" header="Subscription-State:" assign_to="over"/>'


def _refer(target: str) -> list[str]:
    text = _request("REFER", 3, "[next_url]", ANSWERED_TO, f"[routes]\nRefer-To: <sip:{target}@[remote_ip]>\n{EMPTY}")
    return [
        send(text, retrans="500"),
        recv(response="202", action=log("referred", FIELDS)),
        label(3),
        recv(request="BYE", optional="true", next="6", action=log("end", FIELDS)),
        recv(request="NOTIFY", timeout="60000", next="5", test="over", action=OVER),
        send(_answer("200 OK", EMPTY), next="3"),
        label(5),
        send(_answer("200 OK", EMPTY)),
        *_bye(),
        '<nop next="99"/>',
        label(6),
        send(_answer("200 OK", EMPTY)),
    ]


def _refused(code: int) -> str:
    ack = _request("ACK", 2, TARGET, ANSWERED_TO, EMPTY).replace("CSeq: 2", "CSeq: [cseq]")
    return "\n".join([label(code), send(ack, next="99")])


def _answer(status: str, more: str, tag: bool = False) -> str:
    to = "[last_To:];tag=[pid]a[call_number]" if tag else "[last_To:]"
    return (
        f"SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n{to}\n[last_Call-ID:]\n[last_CSeq:]\n"
        f"Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>\n{more}"
    )


INCOMING = recv(request="INVITE", crlf="true", rrs="true", action=log("start"))


def answering(ring_ms: int = 0, tone: str = "", early: bool = False) -> str:
    """Rings (with `early`: 183 with media), answers, waits for BYE."""
    first = _answer("183 Session Progress", _sdp(tone), tag=True) if early else _answer("180 Ringing", EMPTY, tag=True)
    return scenario(
        INCOMING,
        send(first),
        *([nop(play(tone))] if early and tone else []),
        *([pause(ring_ms)] if ring_ms else []),
        send(_answer("200 OK", _sdp(tone), tag=True), retrans="500"),
        recv(request="ACK", action=log("answer") + ("" if early else play(tone))),
        recv(request="BYE", action=log("end")),
        send(_answer("200 OK", EMPTY)),
    )


def ringing() -> str:
    """180, and nothing more until the caller gives up (CANCEL)."""
    return scenario(
        INCOMING,
        send(_answer("180 Ringing", EMPTY, tag=True)),
        recv(request="CANCEL"),
        send(_answer("200 OK", EMPTY)),
        # The 487 belongs to the INVITE: same Via and tags, the INVITE's CSeq.
        send(
            _answer("487 Request Terminated", EMPTY, tag=True).replace("[last_CSeq:]", "CSeq: [cseq] INVITE"),
            retrans="500",
        ),
        recv(request="ACK", action=log("end")),
    )


def refusing(status: str, headers: str = "") -> str:
    """Answers every INVITE with this status, such as `486 Busy Here`, `503 …`, or `302 …` with a Contact in `headers`."""
    more = f"{headers}\n{EMPTY}" if headers else EMPTY
    answer = _answer(status, more, tag=True)
    if "Contact:" in headers:
        answer = answer.replace("Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>\n", "")
    return scenario(INCOMING, send(answer, retrans="500"), recv(request="ACK", action=log(f"refused {status[:3]}")))
