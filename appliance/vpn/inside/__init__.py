"""The centre's service for edges, within the tunnels: HTTPS, both ends by certificates of our own authority.

:mod:`.http`     the server: HTTP/1.1 over TLS 1.3, bounded in size, number and time
:mod:`.service`  what is asked and answered: slice, report, renewal, time, bans
:mod:`.reports`  what edges say of themselves: which slice they have, by which of the centre's addresses they came in
:mod:`.run`      listens at the daemons' own addresses within the tunnels, wherever the configuration in force puts them

A process of its own (``python -m appliance.vpn.inside``): what garbage does to it, no tunnel notices; killed, edges go on with what they
have. Who asks is known by the certificate alone, never by an address: a host behind an edge has none.

What happens when…

* the certificate is revoked: the next request, at most a second later, gets nothing, though the tunnel may stand a moment longer;
* somebody connects and says nothing, or reads nothing: let go after :data:`~.http.REQUEST_S`; one edge has a few connections at most;
* the disk is full: a renewal is refused and asked again; a report is kept in memory and written later;
* our clock can't be believed: nobody is told what time it is, and nothing is renewed; all else goes on;
* there is no authority or configuration yet: it listens nowhere, and looks again every second.
"""
