"""Slices of the document: what one branch has to know of it, signed, in a format that its edge reads.

:mod:`.model`    a slice; :mod:`.plan` document → slices (both pure)
:mod:`.formats`  how it is written, now and for edges of two releases before (pure)
:mod:`.sign`     signed, and read back against the root alone
:mod:`.served`   slices of the generation in force: what the centre gives out
"""

from appliance.vpn.slices.formats import FORMATS, NEWEST, common, known, read, write
from appliance.vpn.slices.model import Path, Remote, Slice
from appliance.vpn.slices.served import Slices
from appliance.vpn.slices.sign import opened, signed

__all__ = [
    "FORMATS",
    "NEWEST",
    "Path",
    "Remote",
    "Slice",
    "Slices",
    "common",
    "known",
    "opened",
    "read",
    "signed",
    "write",
]
