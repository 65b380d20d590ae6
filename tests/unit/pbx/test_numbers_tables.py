"""The number tables, evaluated by Python's re, say what phonenumbers says."""

import random
import re

import pytest
from phonenumbers import PhoneMetadata

from appliance.core.document import Document
from appliance.pbx.context import Installation
from appliance.pbx.numbers.model import NumberCategory, NumberPlan, NumberRange
from appliance.pbx.numbers.patterns import alternatives, first_digits, of_lengths, posix, starting_with
from appliance.pbx.numbers.plan import contribute
from appliance.pbx.numbers.tables import FOREIGN_MATES, Country, calling_codes, country, supported
from tests import numbering


def matches(pattern: str, digits: str) -> bool:
    return re.fullmatch(posix(pattern), digits) is not None


def table_e164(number: str, rules: Country) -> str:
    """The steps of normalise-xx on the tables."""
    if number.startswith("+"):
        return international(number)
    start = rules.international_prefix
    if number.startswith(start) and number[len(start) : len(start) + 1] in set("123456789"):
        return international("+" + number[len(start) :])
    for prefix in sorted(rules.national_prefixes, key=len, reverse=True):
        if number.startswith(prefix):
            return international(f"+{rules.code.code}{number[len(prefix) :]}")
    bare = number.removeprefix(str(rules.code.code))
    too_long = len(number) > max(rules.code.lengths)
    if bare != number and not matches(rules.general, number) and (matches(rules.general, bare) or too_long):
        return international("+" + number)
    if matches(rules.short_valid, number):
        return number
    return f"+{rules.code.code}{number}" if len(number) in rules.code.lengths else ""


def international(number: str) -> str:
    if number.startswith("+00"):
        return international("+" + number[3:])
    for digits in (1, 2, 3):
        start = number[1 : digits + 1]
        code = calling_codes().get(int(start)) if start.isdigit() and start[0] != "0" else None
        if code:
            rest = number[digits + 1 :]
            for prefix in sorted(code.trunk_prefixes, key=len, reverse=True):
                bare = rest.removeprefix(prefix)
                if bare != rest:
                    may_begin_so = starting_with(code.general, prefix[0])
                    if not may_begin_so or matches(code.general, rest) <= matches(code.general, bare):
                        return international(f"+{code.code}{bare}")
                    break
            return f"+{code.code}{rest}" if len(rest) in code.lengths else ""
    return ""


def table_category(number: str, rules: Country) -> NumberCategory:
    """The ladder of classify on the tables."""
    if not number.startswith("+"):
        return next((name for name, pattern in rules.short if matches(pattern, number)), NumberCategory.SERVICE)
    code = next(code for code in calling_codes().values() if number.startswith(f"+{code.code}"))
    digits = number[1 + len(str(code.code)) :]
    if code == rules.code and code.code not in FOREIGN_MATES:
        if not matches(rules.code.general, digits):
            return NumberCategory.OTHER
        parts = ((name, starting_with(pattern, digits[0])) for name, pattern in rules.categories)
        return next((name for name, part in parts if part and matches(part, digits)), NumberCategory.OTHER)
    premium = code.all_premium or (matches(code.premium, digits) and matches(code.general, digits))
    return NumberCategory.PREMIUM if premium else NumberCategory.INTERNATIONAL


@pytest.mark.parametrize("region", numbering.COUNTRIES)
def test_tables_equal_phonenumbers(region: str) -> None:
    rules = country(region)
    assert rules is not None
    numbers = numbering.asked(region, 30)
    assert len(numbers) > 800
    wrong = []
    for number in numbers:
        expected = numbering.e164(number, region)
        found = table_e164(number, rules)
        if found != expected and (numbering.is_valid(number, region) or (expected and expected[0] != "+")):
            wrong.append((number, found, expected))
        elif found and table_category(found, rules) != numbering.category(found, region):
            wrong.append((number, table_category(found, rules), numbering.category(found, region)))
    assert wrong == []


def test_every_category_of_italy_is_asked_for() -> None:
    found = {numbering.category(e, "IT") for n in numbering.asked("IT", 10) if (e := numbering.e164(n, "IT"))}
    assert found == set(NumberCategory) - {NumberCategory.INTERNAL, NumberCategory.UAN}  # Italy has no UAN


@pytest.mark.parametrize(
    ("number", "e164", "category"),
    [
        ("0200001234", "+390200001234", "fixed"),
        ("3330000123", "+393330000123", "mobile"),
        ("800000123", "+39800000123", "toll_free"),
        ("892000", "+39892000", "premium"),
        ("8990000123", "+398990000123", "other"),
        ("112", "112", "toll_free"),
        ("1240", "1240", "premium"),
        ("4399", "", None),
        ("0669812345", "+390669812345", "fixed"),
        ("00442079460000", "+442079460000", "international"),
        ("+4402079460000", "+442079460000", "international"),
        ("+881612345678", "+881612345678", "premium"),
        ("+33899123456", "+33899123456", "premium"),
        ("390200001234", "+390200001234", "fixed"),
        ("+0", "", None),
    ],
)
def test_numbers_of_italy(number: str, e164: str, category: str | None) -> None:
    rules = country("IT")
    assert rules is not None
    assert table_e164(number, rules) == e164
    assert category is None or table_category(e164, rules) == category


@pytest.mark.parametrize("region", supported())
def test_no_supported_country_leaves_the_dialect(region: str) -> None:
    rules = country(region)
    assert rules is not None
    for pattern in (rules.general, rules.short_valid, *(pattern for _, pattern in rules.categories)):
        assert re.compile(posix(pattern))
        for part in alternatives(pattern):
            source = random.Random(region)
            drawn = numbering.sample(part, source) if part else ""
            assert not drawn or drawn[0] in first_digits(pattern)


def test_every_supported_country_fits_into_the_engines_buffers() -> None:
    """``contribute`` refuses expressions that are too long; lines are limited by the writer."""
    for region in supported():
        plan = NumberPlan(id="p", name="P", country=region, ranges=(NumberRange(first="20", last="29"),))
        for section in contribute(Document.of([plan]), Installation(transport_token="t")).dialplan:
            assert section.text()


def test_lengths_follow_from_patterns() -> None:
    """phonenumbers checks lengths beside patterns; we don't, because no pattern matches beyond its lengths."""
    source = random.Random(7)
    for region in supported():
        for kind in numbering.TYPES:
            description = getattr(PhoneMetadata.metadata_for_region(region), kind)
            allowed = description.possible_length if description else ()
            drawn = {len(number) for number in numbering.of_type(region, kind, 5, source)}
            assert not allowed or drawn <= set(allowed), (region, kind)


def test_patterns_refuse_what_posix_reads_otherwise() -> None:
    for pattern in (r"\w+", "(a)", "(?=0)", "1.*", r"1\b"):
        with pytest.raises(ValueError, match="dialect"):
            posix(pattern)


def test_lengths() -> None:
    assert of_lengths({6, 7, 8, 10}) == "[0-9]{6,8}|[0-9]{10}"
    assert re.fullmatch(of_lengths({3}), "123")
    assert first_digits(r"0(?:1|2)|[3-5]?7|(?:8|9)?1") == frozenset("03457891")
    assert starting_with(r"0\d|1\d|[01]2", "1") == r"1\d|[01]2"
