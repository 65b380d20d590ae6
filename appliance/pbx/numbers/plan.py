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
``Gosub(class-<class of service id>,${e164},1(${category}))``: may that class call that number?
    Answer ``1`` (allowed) or ``0`` (denied). ``class-`` with no id is the class of who has none: the model's defaults.
    The longest of a class's prefixes that fits wins; with none, the category decides.
"""

from __future__ import annotations

from appliance.core.document import Document
from appliance.pbx.context import Installation
from appliance.pbx.feature import Contribution


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """This feature's part of the engine's configuration."""
    return Contribution()
