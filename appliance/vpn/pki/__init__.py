"""The public key infrastructure of the voice VPN: our own certificate authority, with ``cryptography`` alone.

:mod:`.authority`     what others call: :class:`Authority`
:mod:`.root`          the root's key: exported, removed, brought back for a new intermediate
:mod:`.tending`       upkeep, and what has to be told
:mod:`.issuing`       making the authority and single certificates
:mod:`.certificates`  what stands in certificates and lists (RFC 5280); :mod:`.lifetimes` when they end
:mod:`.requests`      what is taken from a CSR: a public key
:mod:`.registry`      every certificate that was issued or revoked; :mod:`.vault` the directory, with keys and lock
:mod:`.lists`         lists of revoked certificates; :mod:`.served` what OpenVPN reads
:mod:`.chains`        certificates judged against the root alone, without a clock; :mod:`.signing` texts that branches can believe
:mod:`.tls_crypt`     tls-crypt-v2 keys
:mod:`.timekeeping`   whether the clock can be believed

What happens when…

* it is killed, at any moment: a certificate that anybody has is recorded; one that is recorded and nobody got is given to the
  same key when it asks again; a revocation that is recorded reaches OpenVPN's list at the next call or upkeep;
* the disk is full: nothing is issued or renewed, what stood stays; a revocation has room kept for it;
* the clock is wrong: nothing is issued; revoking goes on;
* OpenVPN's files are damaged or lost: they are made again from the authority's directory;
* a record of a certificate is damaged: it is told; all others go on.
"""

from appliance.vpn.pki.authority import Authority, Granted, Identity
from appliance.vpn.pki.certificates import GATE_NAME, SERVER_NAME, Reason, Role, site_of
from appliance.vpn.pki.registry import Issued, Revoked
from appliance.vpn.pki.served import client_lines, server_lines
from appliance.vpn.pki.signing import Purpose, Signer, verified
from appliance.vpn.pki.tending import Tended

__all__ = [
    "GATE_NAME",
    "SERVER_NAME",
    "Authority",
    "Granted",
    "Identity",
    "Issued",
    "Purpose",
    "Reason",
    "Revoked",
    "Role",
    "Signer",
    "Tended",
    "client_lines",
    "server_lines",
    "site_of",
    "verified",
]
