"""The file for a router of another maker: everything that OpenVPN needs in one, its private key too (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.vpn.pki import Granted, client_lines


def text(site: str, lines: Sequence[str], granted: Granted, key: bytes) -> bytes:
    """``lines``: :func:`appliance.vpn.plan.branch_lines`; ``key``: the private key in PEM. Secret."""
    inline = {"ca": granted.root, "cert": granted.chain, "key": key, "tls-crypt-v2": granted.tls_crypt_key}
    made = [
        f"# The voice VPN's end at {site}, for a router with OpenVPN 2.5 or later. Good until {granted.issued.ends:%Y-%m-%d}.",
        "# The private key is in here: whoever has this file is that site. Delete it when the router has it.",
        "dev tun",
        *lines,
        *client_lines(),
        *(f"<{name}>\n{content.decode().strip()}\n</{name}>" for name, content in inline.items()),
    ]
    return ("\n".join(made) + "\n").encode()
