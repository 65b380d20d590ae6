"""Translation of what the interfaces say: gettext catalogues in ``appliance/locale``; the code speaks English.

Two ways in. ``_("…")`` marks and translates what an interface itself says. :func:`translated` is for what comes from
further inside (errors, faults, steps of a plan): that code knows no languages, so its English text is the message id. A
text with values in it is told by the pattern that made it: ``f"there is no {kind} {id!r}"`` is in the catalogue as
``there is no {1} {2}`` (see ``tools/catalogue.py``, which collects them, and ``docs/decisions/0006``).
"""

from __future__ import annotations

import gettext
import os
import re
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

DOMAIN: Final = "centralino"
PLACE: Final = Path(__file__).parent / "locale"
LANGUAGES: Final = ("en", "it")
WORDS: Final = frozenset({"added", "changed", "removed", "text", "number"})
"""Values of one word that are ours, not names of something."""
_VALUE: Final = re.compile(r"\{(\d)\}")


_speaking: ContextVar[str] = ContextVar("language", default="")


def speaking(lang: str) -> None:
    """Speak this language from now on in this context (a request), whatever the process's is."""
    _speaking.set(lang if lang in LANGUAGES else "")


def language() -> str:
    """Language of this context, else of this process: from CENTRALINO_LANGUAGE, LC_ALL, LC_MESSAGES or LANG; English when none
    is ours."""
    if chosen := _speaking.get():
        return chosen
    for variable in ("CENTRALINO_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            found = value[:2].lower()
            return found if found in LANGUAGES else "en"
    return "en"


@cache
def _catalogue(lang: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, PLACE, [lang], fallback=True)


def speak() -> None:
    """Have libraries that use gettext themselves (typer: headings of help texts, wrong usage) take our catalogue."""
    gettext.bindtextdomain(DOMAIN, str(PLACE))
    gettext.textdomain(DOMAIN)
    if os.environ.get("CENTRALINO_LANGUAGE"):
        os.environ["LANGUAGE"] = language()


def _(message: str) -> str:
    """``message`` in the language of this process."""
    return _catalogue(language()).gettext(message) if message else ""


def later(message: str) -> str:
    """Marks a message that is translated where it is shown."""
    return message


def translated(text: str) -> str:
    """A text of the core in the language of this process, values in it kept; itself when nobody translated it."""
    if not text or language() == "en":
        return text
    whole = _(text)
    if whole != text:
        return whole
    for pattern, template in _templates(language()):
        if match := pattern.fullmatch(text):
            return _VALUE.sub(lambda place: _value(match[int(place[1])]), template)
    return text


def fault_text(text: str) -> str:
    """A fault in the reader's language: what is wrong, and in brackets what to do. Each is a text of its own."""
    whole = translated(text)
    at = len(text) if whole == text and text.endswith(")") else -1
    while (at := text.rfind(" (", 0, at)) > 0:
        said, hint = text[:at], text[at + 2 : -1]
        told = translated(said), translated(hint)
        if told != (said, hint):
            return f"{told[0]} ({told[1]})"
    return whole


def _value(text: str) -> str:
    """A value: itself, but for sentences, such as the reason inside another error, and some words."""
    return translated(text) if " " in text or text in WORDS else text


@cache
def _templates(lang: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns with values and what they become, those with the most text of their own first."""
    catalogue: dict[str, str] = getattr(_catalogue(lang), "_catalog", {})
    known = [(id, text) for id, text in catalogue.items() if isinstance(id, str) and "{1}" in id]
    known.sort(key=lambda item: len(_VALUE.sub("", item[0])), reverse=True)
    return tuple((pattern_of(id), text) for id, text in known)


def pattern_of(template: str) -> re.Pattern[str]:
    """The regular expression of the texts that a template with ``{1}``, ``{2}`` … makes."""
    return re.compile(re.sub(r"\\\{\d\\\}", "(.*?)", re.escape(template)), re.DOTALL)
