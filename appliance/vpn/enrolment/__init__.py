"""Enrolment: how a new edge comes to a certificate of its own.

Somebody makes an *invitation* for a site and carries it to the edge, as a file, a QR code, or read over the telephone. The edge makes a key
that never leaves it, and hands in a request (CSR) at the *gate*: TLS on TCP, at the number of the voice VPN's first port, open only
while an invitation waits.

:mod:`.codes`       the short code, and why it suffices (pure)
:mod:`.invitation`  what is carried to the edge (pure)
:mod:`.waiting`     which invitations wait, and who may still use them: the files
:mod:`.service`     :class:`Enrolment`: what command, portal and API call
:mod:`.answering`   a request → certificate, root, tls-crypt-v2 key, slice: beside the authority, as root
:mod:`.front`       speaks TLS with strangers: a process of its own without rights, ``python -m appliance.vpn.enrolment``
:mod:`.gate`        starts and ends the front and opens the firewall, as invitations come and go
:mod:`.wire`        what travels between edge and gate; :mod:`.proof` how an edge knows the centre (both pure)
:mod:`.bundle`      the file for routers of other makers (pure)
"""
