"""Values that are made for every command and every reply, so that making one has to cost next to nothing.

Contract: a subclass lists its parts; two values are equal if their classes and their parts are.  What a
value is made of never changes (its attributes are `Final`, which the type checker holds everybody to).
Values that are made once, or once a client, are frozen dataclasses instead, which cost ten times as much.
"""

from __future__ import annotations


class Value:
    """Equal to what has the same parts."""

    __slots__ = ()

    def parts(self) -> tuple[object, ...]:
        """Return what the value is made of, in the order of its constructor."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(self) is type(other) and self.parts() == other.parts()

    def __hash__(self) -> int:
        return hash(self.parts())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts()))})"
