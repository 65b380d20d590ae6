"""``python -m tests.hil.hub_process``: the product's hub with sessions that tests know, as the sign-in would give them.

Cookie ``operator`` sees everything; ``own-ext-202`` sees only what extension ext-202 takes part in.
"""

from __future__ import annotations

import sys

from appliance.access.live import owners
from appliance.hub.run import main
from appliance.hub.subject import Message, Subject


class Sessions:
    """Sessions by name."""

    def subject(self, token: str, address: str) -> Subject | None:
        assert address, "the proxy tells it"
        if token.startswith("operator"):
            return Subject("operator")
        if token.startswith("own-"):
            extension = token.removeprefix("own-")
            return Subject(extension, ("own", extension), frozenset((extension,)))
        return None


def visible(subject: Subject, message: Message) -> Message | None:
    """Operators: everything. Others: their own."""
    if subject.view is None:
        return message
    type = message.type
    return message if type in ("call", "extension") and owners(type, message.data) & subject.extensions else None


if __name__ == "__main__":
    sys.exit(main(authenticator=Sessions(), visible=visible))
