"""Measuring a way with packets that look like a call's: STAMP (RFC 8762), authenticated, with sessions (RFC 8972).

:mod:`.packets`    what is on the wire (pure)
:mod:`.reflected`  what a sender makes of the answers (pure)
:mod:`.reflector`  the end that answers: sessions that somebody has asked for, and nobody else (pure)

Sessions are agreed upon elsewhere: within a tunnel, :mod:`appliance.vpn.inside`.
"""
