"""What phonenumbers (libphonenumber's metadata) knows of countries, as the number subroutines need it.

Read from the library at plan time, so that the engine's tables and the library are always of one version, and an
update of the library shows as a change of the plan. Its metadata are plain Python data: no I/O beyond the import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from appliance.pbx.numbers.model import NumberCategory

_NON_GEOGRAPHIC: Final = "001"
_SATELLITE_AND_GLOBAL: Final = frozenset({870, 878, 881, 882, 883, 888, 979})
"""Global networks and services (ITU-T E.164 Annex: Inmarsat, UPT, GMSS, networks, OCHA, premium): dear, and favoured
by those who abuse a PBX. They count as premium."""
FOREIGN_MATES: Final = frozenset({1, 7})
"""Calling codes shared by countries that charge each other as foreign (NANP; Russia and Kazakhstan). Elsewhere those
who share a code (Italy and Vatican City, Great Britain and its islands) count as one country."""

_ORDER: Final = (
    ("premium_rate", NumberCategory.PREMIUM),
    ("toll_free", NumberCategory.TOLL_FREE),
    ("shared_cost", NumberCategory.SHARED_COST),
    ("voip", NumberCategory.VOIP),
    ("personal_number", NumberCategory.PERSONAL),
    ("pager", NumberCategory.OTHER),
    ("uan", NumberCategory.UAN),
    ("voicemail", NumberCategory.MOBILE),  # mailboxes of mobiles: 333… with one or two digits more
    ("fixed_line", NumberCategory.FIXED),
    ("mobile", NumberCategory.MOBILE),
)
"""phonenumbers' types in the order in which it asks for them, and our category of each. The first that fits is it."""

_SHORT_ORDER: Final = (
    ("premium_rate", NumberCategory.PREMIUM),
    ("standard_rate", NumberCategory.SERVICE),
    ("toll_free", NumberCategory.TOLL_FREE),
    ("emergency", NumberCategory.TOLL_FREE),
)
"""The same for short numbers, by what they cost; others are ``service``."""


@dataclass(frozen=True, slots=True)
class CallingCode:
    """A calling code of ITU-T E.164 as seen from another country. Patterns are phonenumbers' own, for the digits after it.

    ``general``: what its numbers look like. ``trunk_prefixes``: digits that people write after it though they don't belong there: the 0 of +44 (0)20.
    ``premium``: pattern of numbers at a premium rate; empty: none known. ``all_premium``: every number is.
    """

    code: int
    lengths: frozenset[int]
    general: str
    premium: str
    all_premium: bool
    trunk_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Country:
    """A country as seen from inside. Patterns are phonenumbers' own, for national (significant) numbers.

    ``general``: what all of its numbers look like.
    ``categories`` are in order: the first pattern that fits decides; ``short`` likewise, after ``short_valid``.
    """

    region: str
    code: CallingCode
    general: str
    categories: tuple[tuple[NumberCategory, str], ...]
    short_valid: str
    short: tuple[tuple[NumberCategory, str], ...]
    national_prefixes: tuple[str, ...]
    international_prefix: str


def _pattern(metadata: Any, field: str) -> str:
    description = getattr(metadata, field, None)
    return (description.national_number_pattern or "") if description else ""


def _unite(*patterns: str) -> str:
    return "|".join(dict.fromkeys(filter(None, patterns)))


def _mates(code: int) -> list[Any]:
    """Metadata of all countries that share a calling code, the main one first."""
    regions = COUNTRY_CODE_TO_REGION_CODE[code]
    if regions[0] == _NON_GEOGRAPHIC:
        return [PhoneMetadata.metadata_for_nongeo_region(code)]
    return [PhoneMetadata.metadata_for_region(region) for region in regions]


@lru_cache(maxsize=1)
def calling_codes() -> dict[int, CallingCode]:
    """Every assigned calling code, from 1 to 998."""
    return {code: _calling_code(code) for code in sorted(COUNTRY_CODE_TO_REGION_CODE)}


def _calling_code(code: int) -> CallingCode:
    mates = _mates(code)
    main = mates[0]
    prefixes = None if main.national_prefix_transform_rule else _prefixes(main.national_prefix_for_parsing)
    if prefixes is None:
        prefixes = (main.national_prefix,) if (main.national_prefix or "").isdigit() else ()
    return CallingCode(
        code=code,
        lengths=frozenset(main.general_desc.possible_length),
        general=_unite(*(_pattern(mate, "general_desc") for mate in mates)),
        premium=_unite(*(_pattern(mate, "premium_rate") for mate in mates)),
        all_premium=code in _SATELLITE_AND_GLOBAL,
        trunk_prefixes=prefixes,
    )


def _prefixes(regex: str | None) -> tuple[str, ...] | None:
    """``0|180020``, ``[08]``, ``0|80?`` as plain prefixes; None when it is more than that."""
    found: list[str] = []
    for part in regex.split("|") if regex else ():
        if part.isdigit():
            found.append(part)
        elif part[:1] == "[" and part[-1:] == "]" and part[1:-1].isdigit():
            found += part[1:-1]
        elif part.endswith("?") and part[:-1].isdigit():
            found += [part[:-1], part[:-2]]
        else:
            return None
    return tuple(dict.fromkeys(found))


def _international_prefix(metadata: Any) -> str | None:
    preferred: str = metadata.preferred_international_prefix or metadata.international_prefix or ""
    return preferred if preferred.isdigit() else None


@lru_cache(maxsize=256)
def country(region: str) -> Country | None:
    """The rules of a country (ISO 3166-1); None when it has no numbering plan, or one whose national prefixes are
    more than digits to be taken off (carrier selection in Brazil, mobile 15 in Argentina…), which we can't carry out."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.national_prefix_transform_rule:
        return None
    prefixes = _prefixes(metadata.national_prefix_for_parsing)
    international = _international_prefix(metadata)
    if prefixes is None or international is None:
        return None
    code = metadata.country_code or 0
    mates = [metadata] if code in FOREIGN_MATES else [metadata, *(m for m in _mates(code) if m.id != region)]
    short = PhoneMetadata.short_metadata_for_region(region)
    return Country(
        region=region,
        code=calling_codes()[code],
        general=_pattern(metadata, "general_desc"),
        categories=tuple(_typed(mates, _ORDER)),
        short_valid=_pattern(short, "short_code"),
        short=tuple(_typed([short], _SHORT_ORDER)),
        national_prefixes=prefixes,
        international_prefix=international,
    )


def _typed(sources: list[Any], order: tuple[tuple[str, NumberCategory], ...]) -> Iterator[tuple[NumberCategory, str]]:
    for field, category in order:
        pattern = _unite(*(_pattern(source, field) for source in sources))
        if pattern:
            yield category, pattern


def supported() -> tuple[str, ...]:
    """Countries that a number plan or a provider may be of."""
    regions = {region for regions in COUNTRY_CODE_TO_REGION_CODE.values() for region in regions}
    return tuple(sorted(region for region in regions - {_NON_GEOGRAPHIC} if country(region) is not None))
