"""numbers → engine configuration (pure): subroutines that the other features' dialplan calls.

All are called with ``Gosub`` and answer in ``GOSUB_RETVAL``. They touch no other channel variable, never answer,
play or hang up, and take any text (also hostile text from a trunk): what isn't a number gives an empty answer.
Don't write the calls by hand: ``appliance.pbx.numbers.dialling`` has one function for each.

``Gosub(normalise-<country>,s,1(${number}))``: a called number *without* its outside prefix, or a number from a trunk.
    ``<country>`` in small letters: that of the number plan for what our people dial, that of the provider for what its
    trunk sends. Contexts exist for the number plan's country and every provider's country.
    Answer: E.164 with its plus (``0200001234`` → ``+390200001234``, ``0044…`` and ``+44…`` → ``+44…``);
    short numbers, which have no E.164 form (Italian 1xx, 4xxxx…), as they are, without a plus; empty when it isn't a
    possible number at all. Visual separators (space, ``-``, ``.``, ``/``, brackets) are dropped, and ``(0)`` after a
    calling code that has none. Possible but unknown numbers pass: their category is ``other``.
``Gosub(classify,${e164},1)``: the answer of ``normalise`` (not empty).
    Answer: a value of ``NumberCategory`` as the number plan's country sees it.
``Gosub(class.<class of service id>,${e164},1(${category}))``: may that class call that number?
    Answer ``1`` (allowed) or ``0`` (denied). ``class.`` with no id is the class of who has none: the model's defaults.
    The longest of a class's prefixes that fits wins; with none, the category decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section, dialplan
from appliance.core.document import Document
from appliance.pbx.context import Installation
from appliance.pbx.feature import Contribution
from appliance.pbx.numbers.model import DEFAULT_CLASS, ClassOfService, NumberCategory, NumberPlan
from appliance.pbx.numbers.patterns import DIGITS, of_lengths, posix, starting_with
from appliance.pbx.numbers.tables import FOREIGN_MATES, CallingCode, Country, calling_codes, country
from appliance.pbx.trunks.model import Provider

SEPARATORS: Final = " ()./-"
"""Characters that people put between digits (RFC 3966 visual separators, space and slash)."""
DIGITS_MAX: Final = 20
_LADDER_MAX: Final = 3800
"""The engine expands a nested expression in a buffer of 4,096 bytes (VAR_BUF_SIZE)."""

Exten = tuple[str, list[str]]


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """This feature's part of the engine's configuration."""
    home = home_country(document)
    regions = {home, *(provider.country for provider in document.all(Provider).values())}
    sections = [_international(), _classify(home)]
    for region in sorted(regions):
        sections += _normalise(region)
    sections.append(_class("", DEFAULT_CLASS))
    sections += (_class(id, item) for id, item in document.all(ClassOfService).items())
    return Contribution(dialplan=tuple(sections))


def home_country(document: Document) -> str:
    """Country whose rules hold for what people dial (ISO 3166-1)."""
    plans = document.all(NumberPlan)
    return next(iter(plans.values())).country if plans else NumberPlan.model_fields["country"].default


def _matches(pattern: str, digits: str) -> str:
    return f'${{REGEX("^({pattern})$" {digits})}}'


def _ladder(choices: Iterable[tuple[str, str]], otherwise: str) -> str:
    """The answer of the first condition that holds. Raises ValueError when the engine couldn't expand it."""
    text = otherwise
    for condition, answer in reversed(list(choices)):
        text = f"${{IF({condition}?{answer}:{text})}}"
    if len(text) > _LADDER_MAX:
        msg = f"an expression of {len(text)} bytes is too long for the engine"
        raise ValueError(msg)
    return text


@lru_cache(maxsize=32)
def _normalise(region: str) -> tuple[Section, ...]:
    """``normalise-<country>`` lets in what may be a number; ``national-<country>`` knows the country's forms."""
    rules = _rules(region)
    name = region.lower()
    noise = f"[{SEPARATORS}]*"
    shape = f"{noise}[+]?({noise}[0-9]){{2,{DIGITS_MAX}}}{noise}"
    # ARGC: a comma in the number would have made two arguments of it.
    entry = f"$[${{ARGC}} = 1 & {_matches(shape, '${ARG1}')}]"
    extens: list[Exten] = [
        ("_+.", ["Goto(international,${EXTEN},1)"]),
        (f"_{rules.international_prefix}[1-9].", [_abroad(rules)]),
        *_with_national_prefix(rules),
        (f"_{rules.code.code}.", [_with_calling_code(rules), f"Return({_national(rules, '${EXTEN}')})"]),
        ("_X.", [f"Return({_national(rules, '${EXTEN}')})"]),
    ]
    unique = dict(reversed(extens))  # a national prefix equal to the calling code (7 in Russia…): the prefix wins
    return (
        dialplan(
            f"normalise-{name}",
            ("s", [f"GotoIf({entry}?national-{name},${{FILTER(+0-9,${{ARG1}})}},1)", "Return()"]),
        ),
        dialplan(f"national-{name}", *reversed(unique.items())),
    )


def _abroad(rules: Country) -> str:
    return f"Goto(international,+${{EXTEN:{len(rules.international_prefix)}}},1)"


def _possible(rules: Country, digits: str) -> tuple[str, str]:
    return _matches(of_lengths(rules.code.lengths), digits), f"+{rules.code.code}{digits}"


def _national(rules: Country, digits: str) -> str:
    """A number without any prefix: a short number, else at least of a possible length, else nothing.

    Where both fit (Germany's 11833), people mean the short one: they dial others with the national prefix.
    """
    short = [(_matches(posix(rules.short_valid), digits), digits)] if rules.short_valid else []
    return _ladder([*short, _possible(rules, digits)], "")


def _with_national_prefix(rules: Country) -> Iterator[Exten]:
    for prefix in rules.national_prefixes:
        bare = f"${{EXTEN:{len(prefix)}}}"
        steps = [f"Goto(international,+{rules.code.code}{bare},1)"]
        if starting_with(rules.general, prefix[0]):
            # The digits may be part of the number: they are the prefix unless only the whole makes a number.
            whole, stripped = (_matches(posix(rules.general), digits) for digits in ("${EXTEN}", bare))
            steps.insert(0, f"GotoIf($[{whole} > {stripped}]?international,+{rules.code.code}${{EXTEN}},1)")
        yield f"_{prefix}.", steps


def _with_calling_code(rules: Country) -> str:
    """Providers send 39020000… without a plus: that it is, unless the whole is a national number itself."""
    bare = f"${{EXTEN:{len(str(rules.code.code))}}}"
    whole, stripped = (_matches(posix(rules.general), digits) for digits in ("${EXTEN}", bare))
    too_long = f"${{LEN(${{EXTEN}})}} > {max(rules.code.lengths)}"
    # A jump, not a nested expression: the two together could be too long for it.
    return f"GotoIf($[{whole} = 0 & ({stripped} | {too_long})]?international,+${{EXTEN}},1)"


@lru_cache(maxsize=1)
def _international() -> Section:
    """Numbers that begin with a plus: the calling code must exist and the length be possible."""
    extens: list[Exten] = [("_+.", ["Return()"]), ("_+00[1-9].", ["Goto(international,+${EXTEN:3},1)"])]
    for code in calling_codes().values():
        start = f"+{code.code}"
        fits = _matches(of_lengths(code.lengths), f"${{EXTEN:{len(start)}}}")
        extens.append((f"_{start}.", [f"Return(${{IF({fits}?${{EXTEN}})}})"]))
        extens += [(f"_{start}{prefix}.", _without_trunk_prefix(code, prefix)) for prefix in code.trunk_prefixes]
    return dialplan("international", *extens)


def _without_trunk_prefix(code: CallingCode, prefix: str) -> list[str]:
    start = len(str(code.code)) + 1
    whole, rest = f"${{EXTEN:{start}}}", f"${{EXTEN:{start + len(prefix)}}}"
    without = f"international,+{code.code}{rest},1"
    if not starting_with(code.general, prefix[0]):
        return [f"Goto({without})"]
    # Numbers of that country may begin with these digits (Thailand's 001 800): kept if only the whole makes a number.
    is_whole, is_rest = (_matches(posix(code.general), digits) for digits in (whole, rest))
    fits = _matches(of_lengths(code.lengths), whole)
    return [f"GotoIf($[{is_whole} <= {is_rest}]?{without})", f"Return(${{IF({fits}?${{EXTEN}})}})"]


@lru_cache(maxsize=8)
def _classify(region: str) -> Section:
    rules = _rules(region)
    extens: list[Exten] = [
        ("_X.", [f"Return({_short_category(rules)})"]),
        ("_+.", [f"Return({NumberCategory.OTHER})"]),
        *((f"_+{code.code}.", [f"Return({_abroad_category(code)})"]) for code in calling_codes().values()),
    ]
    found = dict(extens)
    start = f"+{rules.code.code}"
    if rules.code.code not in FOREIGN_MATES:
        found[f"_{start}."] = [f"Return({NumberCategory.OTHER})"]
    found |= {
        f"_{start}{digit}.": [f"Return({answer})"] for digit in DIGITS if (answer := _home_category(rules, digit))
    }
    return dialplan("classify", *found.items())


def _home_category(rules: Country, digit: str) -> str:
    """The category of the country's numbers that begin with a digit; empty when there are none.

    Patterns of types may be wider than the country's general one (Germany's fixed line): both must fit.
    """
    national = f"${{EXTEN:{len(str(rules.code.code)) + 1}}}"
    choices = [
        (_matches(posix(part), national), category.value)
        for category, pattern in rules.categories
        if (part := starting_with(pattern, digit))
    ]
    if rules.code.code in FOREIGN_MATES:
        premium = _matches(posix(rules.code.premium), national)
        return _ladder([*choices, (premium, NumberCategory.PREMIUM)], NumberCategory.INTERNATIONAL)
    if not choices:
        return ""
    general = _matches(posix(starting_with(rules.code.general, digit)), national)
    return _ladder([(general, _ladder(choices, NumberCategory.OTHER))], NumberCategory.OTHER)


def _short_category(rules: Country) -> str:
    choices = [(_matches(posix(pattern), "${EXTEN}"), category) for category, pattern in rules.short]
    return _ladder(choices, NumberCategory.SERVICE)


def _abroad_category(code: CallingCode) -> str:
    if code.all_premium:
        return NumberCategory.PREMIUM
    if not code.premium:
        return NumberCategory.INTERNATIONAL
    digits = f"${{EXTEN:{len(str(code.code)) + 1}}}"
    is_number, is_premium = (_matches(posix(pattern), digits) for pattern in (code.general, code.premium))
    return _ladder([(f"$[{is_number} & {is_premium}]", NumberCategory.PREMIUM)], NumberCategory.INTERNATIONAL)


def _class(id: str, item: ClassOfService) -> Section:
    """Prefixes as patterns: the engine takes the most specific pattern, which is the longest prefix."""
    verdicts = dict.fromkeys(item.allow_prefixes, "1") | dict.fromkeys(item.deny_prefixes, "0")
    extens: list[Exten] = [(f"_{prefix}!", [f"Return({verdict})"]) for prefix, verdict in verdicts.items()]
    allowed = "|".join(item.allow)
    by_category = f"Return({_matches(allowed, '${ARG1}')})" if allowed else "Return(0)"
    extens += [(pattern, [by_category]) for pattern in ("_+!", "_X!") if pattern[1:-1] not in verdicts]
    return dialplan(f"class.{id}", *extens)


def _rules(region: str) -> Country:
    rules = country(region)
    if rules is None:
        msg = f"the numbering rules of {region} are not known"  # verify has refused it before
        raise ValueError(msg)
    return rules
