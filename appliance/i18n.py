"""Translation of what the interfaces say: gettext catalogues in ``appliance/locale``; the code speaks English."""

from __future__ import annotations

import gettext
import os
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "it")


def language() -> str:
    """Language of this process, from CENTRALINO_LANGUAGE, LC_ALL, LC_MESSAGES or LANG; English when none is ours."""
    for variable in ("CENTRALINO_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            found = value[:2].lower()
            return found if found in LANGUAGES else "en"
    return "en"


@cache
def _catalogue(lang: str) -> gettext.NullTranslations:
    return gettext.translation("centralino", Path(__file__).parent / "locale", [lang], fallback=True)


def _(message: str) -> str:
    """``message`` in the language of this process."""
    return _catalogue(language()).gettext(message)
