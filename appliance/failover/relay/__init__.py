"""The relay pair: below one OpenVPN session, a copy of each packet over every live path.

One relay stands at the edge between OpenVPN's client and the lines, one at the centre between the lines and OpenVPN's server. Each packet gets
a header of ours (a number, a number on its path, the time, a MAC); it goes out over as many paths as the policy says, and the first copy that arrives is
handed on. The tunnel never moves, so nobody on a call hears that a line has died.

A *path* is one line of the branch to one address of the centre. A *session* is one life of an edge's relay with the centre; it outlives a
restart of either relay.

==============  ===========================================================================================
wire         what is sent, octet by octet (pure)
keys         from a site's key to those of a session (pure)
openvpn      what can be read of OpenVPN's packets without its keys (pure)
window       each packet is handed on once (pure)
meter        loss, delay and jitter of a path in one direction (pure)
policy       which paths get a copy of a packet (pure)
pieces       packets longer than a path takes (pure)
sizes        how long a packet each path takes (pure)
channel      all of these for one session's packets (pure)
edge         the branch's end: paths begun, bound, kept, begun anew (pure)
centre       the centre's end for all its sites (pure)
stock        the branch's end alone, before an OpenVPN server of another maker (pure)
batch        datagrams by the dozen, to and from the kernel
sockets      sockets that outlive their process
confined     what a relay may do besides
carried      what each line has carried in a month
holder       the process that keeps them, and forks the relay anew
process      one relay as a process; ``centre_process``; ``at_edge``: at a branch; ``edge_process``, ``stock_process``
==============  ===========================================================================================
"""
