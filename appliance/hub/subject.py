"""Who looks, and what may be seen: the seam to sign-in and roles (pure)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody who is signed in.

    :param account: who, for the log.
    :param view: whatever decides what may be seen: subjects with equal views see the same, but for the room ``me``.
    :param extensions: ids of own extensions, shown in the room ``me``.
    """

    account: str
    view: Hashable = None
    extensions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Message:
    """One object of a room, or something that happened, on its way to a subject."""

    type: str
    room: str
    data: Mapping[str, Any]

    def with_data(self, data: Mapping[str, Any]) -> Message:
        """The same with other data: for who may see a part only."""
        return Message(self.type, self.room, data)


class Authenticator(Protocol):
    """Turns a session cookie into a subject. May block: it is called in a thread."""

    def subject(self, token: str, address: str) -> Subject | None:
        """Whose session this is, if it is one now. ``address``: the browser's, as the proxy tells it."""


Visible = Callable[[Subject, Message], Message | None]
"""What a subject may see of a message: itself, a part (:meth:`Message.with_data`), or None. Must depend on ``view`` (in the
room ``me`` also on ``extensions``) and on the message only, and must not block."""


def everything(subject: Subject, message: Message) -> Message | None:  # noqa: ARG001
    """All of it."""
    return message
