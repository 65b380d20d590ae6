"""A branch's edge: its end of the voice VPN. It works on when the centre is away, and when its own agent is dead.

:mod:`.paths`     where its files lie
:mod:`.states`    identity and slice together, switched as one; on trial until they have proven themselves
:mod:`.identity`  its key, which never travels, and what it was granted for it
"""
