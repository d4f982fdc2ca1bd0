"""Puts classes that name characters beyond ASCII into rules of their own.

Owns one fault of xgrammar 0.2.8: where such a class follows a rule, as in `A+[あ-ん]O`, its masks allow tokens that
cross the rule's end with any character (`An`), which it then refuses to accept. It looks ahead rightly where the class
is a rule.
"""

from __future__ import annotations

import re

__all__ = ["classes_apart"]

# As xgrammar prints grammars: characters beyond ASCII are escaped, so text and classes end where they seem to.
_TEXT_OR_CLASS = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]', re.DOTALL)
_WIDE = re.compile(r"\\(?:x[89a-fA-F]|[uU])[0-9a-fA-F]")


def classes_apart(printed: str) -> str | None:
    """A printed grammar in which each class that names characters beyond ASCII is a rule; None if there is none."""
    prefix = "wide"
    while prefix in printed:
        prefix += "-wide"
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith('"') or not _WIDE.search(found):
            return found
        return names.setdefault(found, f"{prefix}-{len(names)}")

    apart = _TEXT_OR_CLASS.sub(named, printed)
    rules = [f"{name} ::= {each}\n" for each, name in names.items()]
    return "".join([apart, *rules]) if rules else None
