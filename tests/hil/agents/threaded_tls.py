"""TLS for clients that read in one thread while they write in another, as websockets' do.

Until Python 3.13 nothing keeps the two apart in OpenSSL, and the tickets that a server of TLS 1.3 sends after the handshake are read just when the first
request is written: one in a hundred requests never left, or the connection broke. TLS 1.2 has nothing after its handshake.
"""

from __future__ import annotations

import ssl


def for_two_threads(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
