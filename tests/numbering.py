"""What phonenumbers itself says of a number, and numbers to ask about: the measure of our number tables."""

from __future__ import annotations

import random
import re

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType, ShortNumberCost, ValidationResult
from phonenumbers.shortnumberinfo import expected_cost_for_region, is_valid_short_number_for_region

from appliance.pbx.numbers.model import NumberCategory

COUNTRIES = ("IT", "DE", "FR", "GB", "ES", "CH", "AT")
TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
CATEGORY_OF_TYPE = {
    PhoneNumberType.FIXED_LINE: NumberCategory.FIXED,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberCategory.FIXED,
    PhoneNumberType.MOBILE: NumberCategory.MOBILE,
    PhoneNumberType.TOLL_FREE: NumberCategory.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberCategory.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberCategory.SHARED_COST,
    PhoneNumberType.VOIP: NumberCategory.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: NumberCategory.PERSONAL,
    PhoneNumberType.PAGER: NumberCategory.OTHER,
    PhoneNumberType.UAN: NumberCategory.UAN,
    PhoneNumberType.VOICEMAIL: NumberCategory.MOBILE,
    PhoneNumberType.UNKNOWN: NumberCategory.OTHER,
}
CATEGORY_OF_COST = {
    ShortNumberCost.PREMIUM_RATE: NumberCategory.PREMIUM,
    ShortNumberCost.STANDARD_RATE: NumberCategory.SERVICE,
    ShortNumberCost.TOLL_FREE: NumberCategory.TOLL_FREE,
    ShortNumberCost.UNKNOWN_COST: NumberCategory.SERVICE,
}
GLOBAL = {870, 878, 881, 882, 883, 888, 979}


def e164(number: str, region: str) -> str:
    """What ``normalise`` must answer."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return ""
    # Dialled bare, a short number is meant, even where it could be a subscriber's without its national prefix.
    if (
        number.isdigit()
        and is_valid_short_number_for_region(phonenumbers.PhoneNumber(parsed.country_code, int(number),
            italian_leading_zero=number.startswith("0") or None,
            number_of_leading_zeros=(len(number) - len(number.lstrip("0"))) or None), region)
    ):  # fmt: skip
        return number
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return ""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def is_valid(number: str, region: str) -> bool:
    """Whether phonenumbers knows the number as one that exists."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


def category(number: str, home: str) -> NumberCategory:
    """What ``classify`` must answer for a normalised number."""
    if not number.startswith("+"):
        return CATEGORY_OF_COST[expected_cost_for_region(phonenumbers.parse(number, home), home)]
    parsed = phonenumbers.parse(number)
    kind = phonenumbers.number_type(parsed)
    if parsed.country_code == PhoneMetadata.metadata_for_region(home).country_code:
        return CATEGORY_OF_TYPE[kind]
    if kind == PhoneNumberType.PREMIUM_RATE or parsed.country_code in GLOBAL:
        return NumberCategory.PREMIUM
    return NumberCategory.INTERNATIONAL


def sample(pattern: str, source: random.Random) -> str:
    """Digits that match a pattern of phonenumbers' dialect, drawn at random."""
    text, _ = _alternation(pattern, 0, source)
    assert re.fullmatch(pattern, text), (pattern, text)
    return text


def _alternation(pattern: str, at: int, source: random.Random) -> tuple[str, int]:
    options = [""]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            options.append("")
            at += 1
            continue
        start = at
        _, at = _atom(pattern, at, source)
        low, high, after = _times(pattern, at)
        for _ in range(source.randint(low, high)):
            options[-1] += _atom(pattern, start, source)[0]
        at = after
    return source.choice(options), at


def _atom(pattern: str, at: int, source: random.Random) -> tuple[str, int]:
    if pattern.startswith("(?:", at):
        text, end = _alternation(pattern, at + 3, source)
        return text, end + 1
    piece = re.compile(r"[0-9]|\\d|\[[0-9-]+\]").match(pattern, at)
    assert piece, pattern[at:]
    return source.choice([digit for digit in "0123456789" if re.fullmatch(piece[0], digit)]), piece.end()


def _times(pattern: str, at: int) -> tuple[int, int, int]:
    if pattern.startswith("?", at):
        return 0, 1, at + 1
    found = re.compile(r"\{(\d+)(?:,(\d+))?\}").match(pattern, at)
    return (int(found[1]), int(found[2] or found[1]), found.end()) if found else (1, 1, at)


def of_type(region: str, kind: str, count: int, source: random.Random) -> list[str]:
    """National (significant) numbers of one type: phonenumbers' own example, and others drawn at random."""
    description = getattr(PhoneMetadata.metadata_for_region(region), kind)
    if description is None or not description.national_number_pattern:
        return []
    examples = [description.example_number] if description.example_number else []
    return examples + [sample(description.national_number_pattern, source) for _ in range(count)]


def short(region: str, count: int, source: random.Random) -> list[str]:
    """Short numbers of a country, drawn at random."""
    metadata = PhoneMetadata.short_metadata_for_region(region)
    return [sample(metadata.short_code.national_number_pattern, source) for _ in range(count)]


def forms(national: str, region: str, source: random.Random) -> list[str]:
    """One of the ways in which a national number is written: with calling code, with prefix, in its country, bare."""
    metadata = PhoneMetadata.metadata_for_region(region)
    code = metadata.country_code
    prefix = metadata.national_prefix or ""
    written = [f"+{code}{national}", f"00{code}{national}", f"{prefix}{national}", f"{code}{national}", national]
    return written if source.random() < 0.2 else [source.choice(written)]


def asked(region: str, per_type: int, seed: int = 1) -> list[str]:
    """Numbers of every type in their forms, short ones, foreign ones, and digits that are nothing at all."""
    source = random.Random(seed)
    numbers: list[str] = []
    for kind in TYPES:
        for national in of_type(region, kind, per_type, source):
            numbers += forms(national, region, source)
    numbers += short(region, per_type * 3, source)
    for foreign in source.sample(sorted(phonenumbers.SUPPORTED_REGIONS), 40):
        for kind in ("fixed_line", "mobile", "premium_rate"):
            code = PhoneMetadata.metadata_for_region(foreign).country_code
            numbers += [f"{source.choice(['+', '00'])}{code}{n}" for n in of_type(foreign, kind, 1, source)]
    for length in range(2, 17):
        for _ in range(per_type):
            digits = "".join(source.choices("0123456789", k=length))
            numbers.append(source.choice(["", "", "+", "00"]) + digits)
    return list(dict.fromkeys(numbers))
