"""Notifications of calls and alarms to HTTPS endpoints, and scheduled exports of the call history.

:mod:`.model`      what can be configured; :mod:`.verify` what must hold of it (pure)
:mod:`.events`     the catalogue of events, and what is told of each (pure)
:mod:`.signature`  how what is sent is signed (pure)
:mod:`.schedule`   when an export is due, in a site's own time (pure)
:mod:`.queue`      deliveries in the database; :mod:`.state` where one is
:mod:`.service`    questions and orders: deliveries listed, shown, replayed
:mod:`.config`     what the document asks for, and the secrets that it takes
:mod:`.web`        one HTTPS request to a checked address
:mod:`.backoff`    how long to wait after failures
:mod:`.sender`     sends what is due; :mod:`.exports` makes and uploads files
:mod:`.run`        the daemon, ``python -m appliance.notifications``

What happens when…

* it is killed, at any moment: what wasn't noted as delivered is sent again under its id; what the history has noted waits for it;
* an endpoint is down, slow, silent or talks nonsense: its deliveries wait, the others' don't;
* the disk is full or the database locked: nothing is taken out or noted until there is room; what was sent is sent again;
* the clock jumps: a delivery is tried sooner, or at most an hour and a half later; none is given up for it.
"""
