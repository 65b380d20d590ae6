"""Whom the appliance believes when it opens a TLS connection: to directories, providers of sign-on, and receivers of notifications."""

from __future__ import annotations

import ssl


def context(authority: str | None) -> ssl.SSLContext:
    """TLS 1.2 or 1.3; the certificate must be valid, name the host, and come from ``authority`` (PEM) alone, or, without one, from
    an authority that the machine trusts.

    Not ``ssl.create_default_context``: from Python 3.13 on it also refuses authorities that don't say everything RFC 5280 wants
    (key usage, key identifiers), and those that companies once made for themselves often don't.

    :raises ssl.SSLError: ``authority`` isn't PEM.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is None:
        made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        made.load_verify_locations(cadata=authority)
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a company may trust an authority below the root
    return made
