"""The voice VPN: branches reach the centre through it, and phones nobody else.

``model``: concentrator and branches. ``addresses``: what follows from a branch's number (pure). ``plan``: configurations of the
OpenVPN daemons (pure). ``pki``: certificates of both ends. ``branches``: the live view (pure).
``files``: how what is kept is written.
"""
