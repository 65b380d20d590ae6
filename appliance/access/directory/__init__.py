"""Asks a directory (LDAP, Active Directory) whether a password is right, and who it is.

=================  ====================================================================================================
``ber.py``         pure: the Basic Encoding Rules, as far as LDAP uses them (RFC 4511 section 5.1)
``messages.py``    pure: what is asked and answered; filters are made of values, never of text
``connection.py``  one conversation with one server: TLS first, a deadline for the whole of it
``directory.py``   looks somebody up, then binds as them; several servers in order
=================  ====================================================================================================

Why a client of our own: see ``docs/decisions/0025``.
"""

from appliance.access.directory.directory import Directory, Found

__all__ = ["Directory", "Found"]
