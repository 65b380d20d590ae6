"""Call history: the engine's spool of channel events becomes records of calls, each exactly once.

:mod:`.line`      one line of the spool → an event (pure)
:mod:`.legs`      the dialplan line that reports how a leg went, and its reader (pure)
:mod:`.model`     calls, legs, transfers as values (pure)
:mod:`.assemble`  events in order → finished calls; what is still open is a value too (pure)
:mod:`.spool`     files of the spool: reading on, rotating, free space
:mod:`.ingest`    spool → assembler → database, offset and records in one transaction
:mod:`.service`   questions to the history
:mod:`.run`       the daemon, ``python -m appliance.history``
"""
