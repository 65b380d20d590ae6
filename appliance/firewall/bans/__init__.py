"""The gate against intruders: who is kept out, for how long, and why.

::

    attempts ─► Judge.take ─► decisions ─► Kernel.apply   a table of nftables, with time-outs
                (pure)             └─────► Keeper.keep    SQLite: bans and strikes survive a restart

First the kernel, then the store: a full disk must not keep a door open.

:mod:`.model`     attempts, bans, decisions (pure)
:mod:`.rules`     what weighs how much, and how long a ban lasts (pure)
:mod:`.policy`    who is never touched, who is ours, who is always kept out (pure)
:mod:`.timeline`  running time, which no clock that is set can move (pure)
:mod:`.keys`      addresses and networks as the numbers they are counted by (pure)
:mod:`.sources`   what is remembered of each source, in bounded memory (pure)
:mod:`.judge`     the judge (pure); :mod:`.standing` bans and strikes that it has imposed (pure)
:mod:`.sets`      the same as commands for nftables (pure); :mod:`.kernel` puts it there
:mod:`.keeper`    keeps it over a restart; :mod:`.gate` has all of it in one hand
:mod:`.plan`      document → policy, and what stays open (pure)
:mod:`.service`   the process: ``python -m appliance.firewall.bans``; :mod:`.followed` what it goes by; :mod:`.answering` what it says
:mod:`.feeds`     where attempts come from; :mod:`.packets` what a packet says (pure)
:mod:`.reporting` telling it of an attempt; :mod:`.asking` asking it, and lifting
"""
