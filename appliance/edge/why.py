"""Why the tunnel doesn't come up, and what to do, from what OpenVPN says (pure). For whoever stands before the edge.

OpenVPN 2.6 has no other way to tell than its log (``ssl_verify_openssl.c``, ``ssl.c``, ``socket.c``); what isn't known there is left out.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.i18n import later

LOOKED_AT: Final = 8 * 1024
"""Octets of the log's end: a few attempts."""

_ANEW: Final = later("invite it anew at the centre, centralino vpn enrol SITE; then here: centralino edge enrol FILE")
_SAID: Final = (
    (r"VERIFY ERROR: .*error=certificate has expired", later("the centre's certificate has expired, by this edge's clock"),
     later("is this edge's clock right (date)? If it is, look at the centre: centralino doctor")),
    (r"VERIFY ERROR: .*error=certificate is not yet valid", later("the centre's certificate isn't valid yet, by this edge's clock"),
     later("set this edge's clock, or start its service again: it begins at a time that can be")),
    (r"VERIFY ERROR: .*error=(?:unable to get|self-signed|self signed)", later("somebody who isn't this edge's centre answers"),
     later("is the centre's address right? If the centre was made anew, enrol this edge anew")),
    (r"VERIFY (?:KU|EKU|X509NAME) ERROR|VERIFY ERROR: ", later("what answers isn't this edge's centre"),
     later("is the centre's address right? If the centre was made anew, enrol this edge anew")),
    (r"AUTH_FAILED", later("the centre turns this edge away: it was shut out, or another took its place"), _ANEW),
    (r"(?s)VERIFY OK: depth=0.*(?:TLS key negotiation failed|alert)", later("the centre answers, but doesn't take this edge's certificate: it has expired, was revoked, or isn't valid yet by the centre's clock"),
     later("is the centre's clock right (centralino doctor there)? If it is, invite this edge anew: centralino vpn enrol SITE; then here: centralino edge enrol FILE")),
    (r"RESOLVE: Cannot resolve host address", later("the name of the centre isn't known here"),
     later("does the internet work here, and its name servers? Nothing is changed, and it is tried again")),
    (r"(?:Network is unreachable|No route to host)", later("there is no way to the centre from here"),
     later("does the internet work here? Nothing is changed, and it is tried again")),
    (r"TLS key negotiation failed to occur", later("the centre is silent at all of its addresses"),
     later("does the internet work here? If it does and other branches are in, this edge was shut out: invite it anew, centralino vpn enrol SITE")),
)  # fmt: skip


def why(log: str) -> str:
    """In words, and in brackets what to do; ``""``: it doesn't say, or the tunnel came up since.

    :param log: the end of OpenVPN's log.
    """
    since = log.rpartition("Initialization Sequence Completed")[2]
    for pattern, message, hint in _SAID:  # a refusal ends with a silence too: what says more comes first
        if re.search(pattern, since):
            return f"{message} ({hint})"
    return ""
