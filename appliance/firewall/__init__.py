"""The firewall: who may reach what on this machine, as rules of the kernel (nftables).

``model``: networks and address lists of the document. ``promise``: document → who may reach what (pure), which rules, screens
and tests are made from. ``rules``: that promise as one nftables script (pure). ``kernel``: loads it and asks what is loaded.
``tuning``: settings of the kernel that they rely on (pure); ``sysctl`` makes them. ``boot``: both from the disk, without any daemon.
``bans``: who is kept out after failed attempts; a table of its own, ``inet centralino-bans``.
"""
