"""An operator that cosmic-ray does not have: a statement is left out. Promises rest on calls that return nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parso.python.tree import Keyword

Position = tuple[int, int]


class LeaveOut:
    """`self._signal(pid, number)` becomes `pass`. Only calls, awaited or not, and `raise`; never a docstring."""

    KINDS = frozenset({"atom_expr", "await_expr", "raise_stmt"})

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        """Yield the places where this can be done."""
        if node.type == "simple_stmt" and node.children[0].type in self.KINDS:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Leave the statement out."""
        first = node.children[0].get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        node.children[0].parent = node
        return node

    @classmethod
    def arguments(cls) -> tuple[()]:
        """There are none."""
        return ()

    @classmethod
    def examples(cls) -> tuple[()]:
        """For cosmic-ray's own tests."""
        return ()


class Provider:
    """How cosmic-ray finds it; scripts/mutation registers it under the name `deadstop`."""

    def __iter__(self) -> Iterator[str]:
        return iter(["LeaveOut"])

    def __getitem__(self, name: str) -> type[LeaveOut]:
        return {"LeaveOut": LeaveOut}[name]
