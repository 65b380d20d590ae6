"""Lines whose interfaces the edge sets up itself: addresses, routes of a table of their own, and what leads there.

=================  ============================================================================================
:mod:`.things`     addresses, routes, rules, and the numbers by which they are ours
:mod:`.wanted`     slice and leases → what the kernel should have (pure)
:mod:`.changes`    what it has, and what it should have → what is to be done, in which order (pure)
:mod:`.kernel`     has it read and done, by :mod:`.rtnetlink`, a process of its own; says that something changed
:mod:`.leases`     DHCP: a udhcpc for each line, and what it was told
:mod:`.keeping`    all of it together, again and again
:mod:`.own`        settings that were made at the edge, on trial
:mod:`.network`    the document's and those, together
=================  ============================================================================================

All that is ours in the kernel carries our number as its protocol (:data:`.things.PROTOCOL`). What carries another isn't touched, and what
carries ours and isn't wanted is removed, whoever made it.

What happens when…

* the agent dies: addresses, routes and udhcpc stay; the next one finds them, and changes nothing;
* somebody takes an address, a route or a rule away: it is put back at once, and told;
* an interface isn't there, or comes and goes: told; it is set up when it is there;
* the lease is lost: its address goes with its time (RFC 2131 section 4.4.5), other lines stay, and it is asked for again and again;
* the DHCP server says nonsense: it is as if it had said nothing, and told;
* the kernel refuses one step: the others are done, and it is told;
* a setting cuts the edge off: the slice it came with doesn't prove itself, and the one before comes back (:mod:`appliance.edge.trials`).
"""
