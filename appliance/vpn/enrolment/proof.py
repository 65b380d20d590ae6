"""How a new edge knows the centre's gate: by the root's fingerprint alone (pure).

TLS proves that the other side has the key of its certificate; here it is followed up to the root that the invitation names. No
date is looked at: the edge's clock may be ten years wrong, and it has nothing else to go by. So the key of a gate of long ago would do for a
stranger at the centre's address; it never leaves the memory of two processes that run while an invitation waits.
"""

from __future__ import annotations

from cryptography import x509

from appliance.vpn.pki import chains
from appliance.vpn.pki.certificates import GATE_NAME, Role, fingerprint, name_of, public_key


def root_behind(root: bytes, chain: bytes, shown: bytes) -> str | None:
    """Fingerprint of the root's public key, if the gate belongs to it.

    :param root: PEM; ``chain``: PEM of the gate's certificate and its intermediate.
    :param shown: the certificate that the other side of the TLS connection has, DER.
    :return: None: it doesn't, or something can't be read.
    """
    try:
        top = chains.root_of(root)
        gate = chains.leaf_of(chain, top, Role.GATE)
        if gate != x509.load_der_x509_certificate(shown) or name_of(gate) != GATE_NAME:
            return None
        return fingerprint(public_key(top))
    except (ValueError, TypeError):
        return None
