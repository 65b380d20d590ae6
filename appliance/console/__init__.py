"""Portal and REST API: one Flask application, which translates requests and decides nothing.

What may be done is decided by :mod:`appliance.access`, what a change means by the applier. With the applier, the engine or the hub
dead, it says so plainly, and everything that doesn't need them goes on.
"""
