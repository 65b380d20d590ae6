"""Takes out of texts what may be secret (pure), before anybody who isn't the edge sees them: logs, its support bundle.

What goes:

* every known secret, in any form, and pieces of it (:mod:`.traces`);
* what stands between BEGIN and END of anything but certificates and revocation lists, and between ``<key>`` and ``</key>`` and their like; where one end is missing
  (a log that was cut), all there is on that side of the other;
* the value after a word like password, secret, token or key, to the end of the line or to the next ``name=``; of options like ``--auth-user-pass``;
* whatever looks like a key (32 hexadecimal digits, 32 characters of base64) behind such a word in its line; tokens of HTTP and JSON; passwords in addresses.

In doubt it goes. What stays: addresses, times, numbers, fingerprints of certificates, certificates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from appliance.edge.traces import Traces

GONE: Final = "[removed]"
_WORD: Final = (
    r"(?:pass(?:word|wd|phrase|code|wort)?s?(?![a-z])|pwd|secret|token|psk|credential|authori[sz]ation|cookie|key"
    r"|(?<![a-z])pin(?![a-z]))"
)
_NEXT: Final = r"[ \t]+(?!-|\\?[\"']?[\w.-]+\\?[\"']?[ \t]*[=:])"
"""Another word, which isn't the next name of ``name=value``, nor an option."""
_VALUE: Final = (
    r"(?!\[removed\](?:[\s\"',;}\]\\]|$))"
    r"(?:\"(?:[^\"\\\n]|\\.)*\"[^\s,;}\])]*|'(?:[^'\\\n]|\\.)*'[^\s,;}\])]*|\S+(?:" + _NEXT + r"\S+)*)"
)
_ASSIGNED: Final = re.compile(
    rf"(?P<head>(?P<word>{_WORD})[\w.-]{{0,40}}\\?[\"']?[ \t]*(?:=>|:=|:(?!=)|=(?!>))[ \t]*)(?P<value>{_VALUE})",
    re.IGNORECASE,
)
_COUNT: Final = re.compile(r"\d{1,3}(?![\w.:+/-])")
"""What is no key: a number of them, or of their bits."""
_OPTION: Final = re.compile(
    rf"(?P<head>--(?!persist-key|key-direction)(?=[\w-]{{0,60}}{_WORD}|askpass)[\w-]+[ \t]+)(?P<value>(?!-){_VALUE})",
    re.IGNORECASE,
)
_DIRECTIVE: Final = re.compile(
    rf"(?P<head>(?<![\w-])(?:(?:http-proxy-)?auth-user-pass|http-proxy-user-pass|auth-token(?:-user)?|auth-gen-token-secret|askpass)[ \t]+)(?P<value>{_VALUE})"
)
_BEARER: Final = re.compile(r"(?P<head>\bbearer[ \t]+)(?P<value>[\w.~+/=-]{6,})", re.IGNORECASE)
_JWT: Final = re.compile(r"(?P<head>)(?P<value>\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?)")
_ADDRESS: Final = re.compile(r"(?P<head>://)(?P<value>[^\s/@:]{0,100}:[^\s@]{1,400}(?=@))")
_BEHIND: Final = re.compile(rf"{_WORD}[^\n]*?(?:[:=|>][ \t]*\n[^\n]*|(?=\n)|\Z)", re.IGNORECASE)
"""From a word like key to the end of its line; and the next line, if that is what it announces."""
_KEY_LIKE: Final = re.compile(
    r"(?P<head>fingerprint[^\n]{0,30}?)?"
    r"(?P<value>(?<![0-9a-f])(?:[0-9a-f]{32,}|[0-9a-f]{2}(?:[: -][0-9a-f]{2}){15,})(?![0-9a-f])"
    r"|(?<![\w+/=])(?=[\w+/-]{0,200}[0-9])(?=[\w+/-]{0,200}(?-i:[A-Z]))(?=[\w+/-]{0,200}(?-i:[a-z]))[\w+/-]{32,}={0,2})",
    re.IGNORECASE,
)
_MARKER: Final = re.compile(
    r"-{4,5} ?(?P<kind>BEGIN|END) (?P<label>[^\n]{1,80}?) ?-{4,5}"
    r"|<(?P<slash>/?)(?P<inline>key|tls-auth|tls-crypt|tls-crypt-v2|secret|pkcs12|auth-user-pass|http-proxy-user-pass|auth-gen-token-secret)>"
)
_PUBLIC: Final = frozenset(("CERTIFICATE", "X509 CRL"))
_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9+/=\s]|\\[nr])*")


class Redaction:
    """See this module. ``secrets``: those that are known, in their own octets."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        self._traces = Traces(secrets)

    def text(self, text: str) -> str:
        """Without what may be secret."""
        return "".join(part if public else _ruled(part) for part, public in _parts(self._without_known(text)))

    def data(self, value: Any) -> Any:
        """The same of what JSON can say: values of names like ``password`` whole, texts as :meth:`text`; lists of texts as the lines of one."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): _hidden(name, each) or self.data(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            if value and all(isinstance(each, str) and "\n" not in each for each in value):
                return self.text("\n".join(value)).split("\n")
            return [self.data(each) for each in value]
        return value

    def json(self, value: Any, *, indent: int | None = 1) -> str:
        """:meth:`data` as JSON, and searched once more as a whole."""
        return self._without_known(json.dumps(self.data(value), ensure_ascii=False, indent=indent, default=str))

    def holds(self, text: str) -> bool:
        """Whether any of the known secrets, or a piece of one, is in it."""
        return bool(self._traces.spans(text))

    def _without_known(self, text: str) -> str:
        made, last = [], 0
        for begin, end in self._traces.spans(text):
            made += [text[last:begin], GONE]
            last = end
        return "".join((*made, text[last:]))


def redacted(text: str, secrets: Iterable[bytes] = ()) -> str:
    """A text without what may be secret, and without these secrets."""
    return Redaction(secrets).text(text)


def unfinished(text: str) -> str:
    """The BEGIN, or ``<key>``, of something secret whose end hasn't come yet; empty: there is none. For who reads as it is written."""
    opened: re.Match[str] | None = None
    for each in _MARKER.finditer(text):
        if opened is None:
            opened = each if _opens(each) and _label(each) not in _PUBLIC else None
        elif not _opens(each) and _label(each) == _label(opened):
            opened = None
    return opened[0] if opened is not None else ""


def _hidden(name: object, value: Any) -> str | None:
    """Instead of a value that is secret by its name. Yes, no and numbers of keys are none."""
    found = re.search(_WORD, str(name), re.IGNORECASE)
    if found is None or value is None or isinstance(value, bool):
        return None
    return None if isinstance(value, int) and 0 <= value < 1000 and found[0].lower() == "key" else GONE


def _ruled(text: str) -> str:
    for rule in (_ADDRESS, _BEARER, _JWT, _OPTION, _DIRECTIVE, _ASSIGNED):
        text = rule.sub(_without_value, text)
    return _BEHIND.sub(lambda behind: _KEY_LIKE.sub(_without_value, behind[0]), text)


def _without_value(found: re.Match[str]) -> str:
    head = found["head"] or ""
    if found.re is _KEY_LIKE and head:
        return found[0]
    if found.re is _ASSIGNED and found["word"].lower() == "key" and _COUNT.match(found["value"]):
        return found[0]
    return head + GONE


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """What is left of it when secret blocks are out; and whether a part is a certificate (or what we put), in which no rule means anything."""
    markers = list(_MARKER.finditer(text))
    ends = _ends(markers)
    at = last = 0
    while at < len(markers):
        here, end = markers[at], ends[at]
        if _label(here) in _PUBLIC and (
            end is None or not _opens(here)
        ):  # it was cut: a certificate's own lines trip no rule that matters
            at += 1
            continue
        if not _opens(here):  # of what began before the text does
            yield GONE, True
            last, at = here.end(), at + 1
            continue
        yield text[last : here.start()], False
        if end is None:
            yield GONE, True
            return
        last, at = markers[end].end(), end + 1
        public = _label(here) in _PUBLIC and _ENCODED.fullmatch(text, here.end(), markers[end].start()) is not None
        yield (text[here.start() : last], True) if public else (GONE, True)
    yield text[last:], False


def _ends(markers: list[re.Match[str]]) -> list[int | None]:
    """For each marker, which one ends what it begins: the next END of its label."""
    nearest: dict[str, int] = {}
    found: list[int | None] = []
    for at in range(len(markers) - 1, -1, -1):
        found.append(nearest.get(_label(markers[at])))
        if not _opens(markers[at]):
            nearest[_label(markers[at])] = at
    return found[::-1]


def _opens(marker: re.Match[str]) -> bool:
    return marker["kind"] == "BEGIN" or (marker["kind"] is None and not marker["slash"])


def _label(marker: re.Match[str]) -> str:
    return str(marker["label"] or f"<{marker['inline']}>")
