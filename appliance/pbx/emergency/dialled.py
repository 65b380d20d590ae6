"""In which forms a phone may dial a number that calls for help (pure)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from phonenumbers import PhoneMetadata

from appliance.core.document import Document
from appliance.pbx.numbers.model import EmergencyPlan, NumberPlan

DEFAULT_NUMBERS: Final = ("112", "113", "115", "118")
"""Without an emergency plan in the document: Italy's."""


def emergency_numbers(document: Document) -> tuple[str, ...]:
    """All numbers of all emergency plans."""
    plans = document.all(EmergencyPlan).values()
    return tuple(dict.fromkeys(number for plan in plans for number in plan.numbers)) or DEFAULT_NUMBERS


def emergency_forms(document: Document) -> dict[str, tuple[str, ...]]:
    """Number → how it may be dialled: as it is, after the outside prefix, behind the country's calling code, or both."""
    plan = next(iter(document.all(NumberPlan).values()), None)
    prefix, country = (plan.outside_prefix, plan.country) if plan else ("", "IT")
    return {number: forms(number, prefix, country) for number in emergency_numbers(document)}


@lru_cache(maxsize=256)
def forms(number: str, prefix: str, country: str) -> tuple[str, ...]:
    """Forms of one number, each once. A country without a calling code has none with it."""
    metadata = PhoneMetadata.metadata_for_region(country)
    code = f"+{metadata.country_code}" if metadata else ""
    return tuple(dict.fromkeys((number, f"{prefix}{number}", f"{code}{number}", f"{prefix}{code}{number}")))
