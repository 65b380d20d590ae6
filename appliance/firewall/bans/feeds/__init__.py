"""Where attempts come from; each feed makes :class:`~appliance.firewall.bans.model.Attempt` of what it hears.

:mod:`.engine`   security events of the engine: who signed in by SIP, and who failed
:mod:`.reports`  what portal, API, provisioning and the voice VPN report
:mod:`.dropped`  packets that the firewall dropped, or looked at
"""
