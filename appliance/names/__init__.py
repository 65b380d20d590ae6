"""Host names of the document, looked up ahead of time: never while a call or a packet waits for it.

``answers``: what is believed of an answer, and for how long (pure). ``wanted``: which names a document asks for (pure).
``asking``: asks name servers, in a process of its own that has given up root. ``keeper``: asks when it is time, and keeps what
was learned over restarts and outages.

The applier alone uses them: firewall and engine are told of the same addresses in the same generation
(:mod:`appliance.applier.refreshing`).
"""
