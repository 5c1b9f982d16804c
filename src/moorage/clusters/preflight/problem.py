"""One problem of a spec, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network

from moorage.model.errors import BadInput, MoorageError, QuotaExceeded


@dataclass(frozen=True)
class Problem:
    """One problem of a spec: the parameter, its value, why it is wrong, and what to use instead."""

    parameter: str
    value: str
    reason: str
    alternative: str
    quota: bool = False

    def __str__(self) -> str:
        subject = f"{self.parameter} {self.value}".strip()
        return f"{subject}: {self.reason}" + (f"; {self.alternative}" if self.alternative else "")


def error_of(found: Sequence[Problem]) -> MoorageError:
    """One error with all problems."""
    kind = QuotaExceeded if all(problem.quota for problem in found) else BadInput
    if len(found) == 1:
        return kind(f"{found[0].parameter} {found[0].value}".strip() + f": {found[0].reason}", found[0].alternative)
    return kind(f"{len(found)} problems:" + "".join(f"\n  {problem}" for problem in found))


def parse_network(text: str) -> IPv4Network | str:
    """The network, or the reason why the text is not a network."""
    try:
        return IPv4Network(text)
    except ValueError as error:
        try:
            return f"has host bits set, the network is {IPv4Network(text, strict=False)}"
        except ValueError:
            return f"not an IPv4 network ({error})"


def choices(name: str, names: Sequence[str]) -> str:
    """A similar name, or all names."""
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else one_of(names)


def one_of(names: Sequence[str]) -> str:
    """These names; empty without any."""
    return f"available: {', '.join(sorted(names)[:6])}" if names else ""
