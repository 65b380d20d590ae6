"""Calls of the number subroutines, as dialplan steps and expressions: what they do is told in ``numbers/plan.py``.

Arguments are dialplan expressions such as ``${EXTEN:1}``. Every step answers in ``GOSUB_RETVAL``.
"""

from __future__ import annotations

from phonenumbers import PhoneMetadata


def normalise(number: str, country: str) -> str:
    """The step that turns a number into E.164 (or a short number, or nothing)."""
    return f"Gosub(normalise-{country.lower()},s,1({number}))"


def classify(e164: str) -> str:
    """The step that finds the category of a normalised number, which must not be empty."""
    return f"Gosub(classify,{e164},1)"


def class_check(class_of_service: str, e164: str, category: str) -> str:
    """The step that answers 1 when a class of service may call a normalised number, else 0."""
    return f"Gosub(class.{class_of_service},{e164},1({category}))"


def national(variable: str, country: str) -> str:
    """The expression for a normalised number as it is dialled in a country: ``0200001234``, ``0044…``.

    ``variable`` is the *name* of the channel variable that holds the number. Short numbers stay as they are.
    """
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None:
        msg = f"{country} is not a country with a numbering plan"
        raise ValueError(msg)
    home = f"+{metadata.country_code}"
    inside = f"{metadata.national_prefix or ''}${{{variable}:{len(home)}}}"
    outside = f"{metadata.preferred_international_prefix or metadata.international_prefix}${{{variable}:1}}"
    abroad = f'${{IF($["${{{variable}:0:1}}" = "+"]?{outside}:${{{variable}}})}}'
    return f'${{IF($["${{{variable}:0:{len(home)}}}" = "{home}"]?{inside}:{abroad})}}'
