"""White space between the parts of JSON as a regular expression says, which xgrammar 0.2.8 cannot be told.

It writes a repeated class of white space wherever JSON may have some; here a rule of its own is put into these places.
The rule can only be white space, so what is made is JSON whatever the expression.
"""

from __future__ import annotations

import math
import re

__all__ = ["white_space_rule", "with_white_space"]

_LONGEST = 64
_MOST = 1024
_RULE = "x_white_space"
_PIECE = re.compile(
    r"(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)|(?P<count>[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})"
    r"|(?P<sign>\\[nrts]|[ \n\r\t]|\[(?:\\[nrts]|[ \n\r\t])+\])"
)
_SPELLED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", r"\s": r" \n\r\t"}
_SPACE = r"[ \n\r\t]"
_TERMINAL = re.compile(r'"(?:\\.|[^"\\])*"|(\[(?:\\.|[^\]\\])*\])(\*?)')


def white_space_rule(pattern: str) -> str:
    r"""The body of a rule in EBNF that matches what a regular expression matches.

    Args:
        pattern: of spaces, `\n`, `\r`, `\t`, `\s` and classes of them, with groups, alternatives and repetitions.

    Raises:
        ValueError: it is no expression, asks for something else, or is too large; the text says which.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"it has {len(pattern)} characters, more than {_LONGEST}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    bounds = [int(number) for number in re.findall(r"\d+", pattern)]
    if math.prod(max(bound, 1) for bound in bounds) > _MOST:
        raise ValueError(f"it repeats more than {_MOST} times")
    parts: list[str] = []
    place, last = 0, "bar"
    while place < len(pattern):
        piece = _PIECE.match(pattern, place)
        kind = None if piece is None else piece.lastgroup
        if piece is None or kind is None or (kind == last == "count" and piece[0] != "?"):
            raise ValueError(f"{pattern[place : place + 20]!r} is no white space")
        if last in ("open", "bar") and kind in ("close", "bar"):
            parts.append('""')
        if kind != last or kind != "count":  # a lazy repetition matches the same
            parts.append(_written(piece, kind))
        place, last = piece.end(), kind
    return " ".join([*parts, '""'] if last == "bar" else parts)


def with_white_space(grammar: str, rule: str) -> str:
    """The grammar, in EBNF as xgrammar prints it, with the rule in place of its white space."""

    def replaced(terminal: re.Match[str]) -> str:
        return _RULE if terminal[1] == _SPACE and terminal[2] else terminal[0]

    return f"{_TERMINAL.sub(replaced, grammar)}\n{_RULE} ::= {rule}\n"


def _written(piece: re.Match[str], kind: str) -> str:
    match kind:
        case "open":
            return "("
        case "count" if piece["low"] is not None:
            return _repetition(piece)
        case "sign":
            signs = re.findall(r"\\.|.", piece[0].removeprefix("[").removesuffix("]"), re.DOTALL)
            return f"[{''.join(_SPELLED.get(sign, sign) for sign in signs)}]"
        case _:
            return piece[0]


def _repetition(piece: re.Match[str]) -> str:
    low = piece["low"] or "0"
    return f"{{{low},{piece['high'] if piece['comma'] else low}}}"
