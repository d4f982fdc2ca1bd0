"""Forms of text drawn from a seed, written as regular expressions and as EBNF, and read by a recogniser of their own.

The recogniser knows nothing of either notation: what is written and what is read come from the same tree alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

__all__ = ["Form", "Rules", "as_ebnf", "as_regex", "draw_form", "draw_rules", "fits"]

ALPHABETS = (
    ("a", "z"),
    ("0", "9"),
    ("A", "F"),
    ("x", "z"),
    ("à", "ö"),
    ("あ", "ん"),
    ("а", "я"),
    ("😀", "🙏"),
    ("!", "."),
    (" ", " "),
)
TEXTS = (
    "-",
    ": ",
    "yes",
    "no",
    "Oslo",
    "a",
    "ab",
    "(",
    "[x]",
    '"',
    "\\",
    "\n",
    "ünder",
    "日本",
    "😀",
    "{1}",
    "$5.00",
    "^|",
)


@dataclass(frozen=True, slots=True)
class Text:
    """These characters."""

    text: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character of some ranges, or one of no other."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after another."""

    parts: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Any one of these."""

    parts: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """So many times; `most` None is without end."""

    part: Form
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Named:
    """What a rule says; in EBNF alone."""

    rule: str


Form = Text | OneOf | Sequence | Either | Repeated | Named
Rules = Mapping[str, Form]


def fits(form: Form, text: str, rules: Rules | None = None) -> bool:
    """Whether the whole text has the form."""
    return len(text) in _ends(form, text, 0, rules or {}, {})


def _ends(form: Form, text: str, start: int, rules: Rules, known: dict[tuple[str, int], set[int]]) -> set[int]:
    """Where what begins at `start` may end; rules never begin with themselves."""
    match form:
        case Text(wanted):
            return {start + len(wanted)} if text.startswith(wanted, start) else set()
        case OneOf(ranges, is_negated):
            is_in = start < len(text) and any(low <= text[start] <= high for low, high in ranges)
            return {start + 1} if start < len(text) and is_in != is_negated else set()
        case Either(parts):
            return {end for part in parts for end in _ends(part, text, start, rules, known)}
        case Sequence(parts):
            ends = {start}
            for part in parts:
                ends = {later for end in ends for later in _ends(part, text, end, rules, known)}
            return ends
        case Repeated():
            return _repeated(form, text, start, rules, known)
        case Named(rule):
            if (rule, start) not in known:
                known[rule, start] = _ends(rules[rule], text, start, rules, known)
            return known[rule, start]


def _repeated(form: Repeated, text: str, start: int, rules: Rules, known: dict[tuple[str, int], set[int]]) -> set[int]:
    ends = {start}
    found = set(ends) if form.least == 0 else set()
    for count in range(1, (len(text) + form.least if form.most is None else form.most) + 1):
        ends = {later for end in ends for later in _ends(form.part, text, end, rules, known)}
        if count >= form.least:
            if ends <= found:
                break
            found |= ends
    return found


def as_regex(form: Form) -> str:
    """The form as a regular expression."""
    match form:
        case Text(text):
            return re.escape(text)
        case OneOf():
            return _class(form)
        case Either(parts):
            return f"({'|'.join(map(as_regex, parts))})"
        case Sequence(parts):
            return "".join(map(as_regex, parts))
        case Repeated(part):
            return f"({as_regex(part)}){_times(form)}"
        case Named(rule):
            raise ValueError(f"{rule} is no regular expression")


def as_ebnf(rules: Rules) -> str:
    """The rules as EBNF."""
    return "\n".join(f"{name} ::= {_ebnf(form)}" for name, form in rules.items())


def _ebnf(form: Form) -> str:
    match form:
        case Text(text):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case OneOf():
            return _class(form)
        case Either(parts):
            return f"({' | '.join(map(_ebnf, parts))})"
        case Sequence(parts):
            return " ".join(map(_ebnf, parts))
        case Repeated(part):
            return f"({_ebnf(part)}){_times(form)}"
        case Named(rule):
            return rule


def _class(form: OneOf) -> str:
    ranges = (low if low == high else f"{low}-{high}" for low, high in form.ranges)
    return f"[{'^' if form.is_negated else ''}{''.join(ranges)}]"


def _times(form: Repeated) -> str:
    simple = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    if (form.least, form.most) in simple:
        return simple[form.least, form.most]
    return f"{{{form.least},{'' if form.most is None else form.most}}}"


def draw_form(random: Random, depth: int = 3, names: tuple[str, ...] = (), *, in_repeated: bool = False) -> Form:
    """Any form; `names` are rules that it may name. What is repeated without end repeats nothing itself."""
    kind = random.choice(["text", "class", "rule"] if depth == 0 else ["either", "sequence", "sequence", "repeated"])
    match kind:
        case "rule" if names:
            return Named(random.choice(names))
        case "either" | "sequence":
            num_parts = random.randint(2, 4)
            parts = tuple(draw_form(random, depth - 1, names, in_repeated=in_repeated) for _ in range(num_parts))
            return Either(parts) if kind == "either" else Sequence(parts)
        case "repeated":
            least = random.randint(0, 2)
            if in_repeated or random.random() < 0.92:
                most = max(1, least + random.randint(0, 2))
                return Repeated(draw_form(random, depth - 1, names, in_repeated=True), least, most)
            return Repeated(draw_form(random, 0), least, None)
        case "class":
            ranges = tuple(sorted(random.sample(ALPHABETS, random.randint(1, 3))))
            return OneOf(ranges, is_negated=random.random() < 0.15)
    return Text(random.choice(TEXTS))


def draw_rules(random: Random) -> Rules:
    """Rules that name those after them, and at times, inside of brackets, those before."""
    names = ["root", *(f"rule-{index}" for index in range(random.randint(0, 3)))]
    rules: dict[str, Form] = {}
    for index, name in enumerate(names):
        form = draw_form(random, random.randint(1, 2), tuple(names[index + 1 :]))
        if random.random() < 0.4:
            again = Named(random.choice(names[: index + 1]))
            form = Either((form, Sequence((Text("("), again, Text(")")))))
        rules[name] = form
    return rules
