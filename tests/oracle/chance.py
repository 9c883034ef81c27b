"""What a generator picks by chance: each is a function of a random source, which :data:`Draw` is given.

Hypothesis would shrink what fails, but generates small and similar worlds most of the time; ``test_oracle.py``
shrinks by itself.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Strategy: TypeAlias = Callable[[random.Random], T]
Draw: TypeAlias = Callable[[Strategy[Any]], Any]


def drawing(source: random.Random) -> Draw:
    """Return what draws from ``source``."""
    return lambda strategy: strategy(source)


def sampled_from(items: Sequence[T]) -> Strategy[T]:
    """One of ``items``; name one several times to have it more often."""
    return lambda source: source.choice(items)


def booleans() -> Strategy[bool]:
    """A coin."""
    return sampled_from((True, False))


def lists(items: Strategy[T], *, min_size: int, max_size: int) -> Strategy[list[T]]:
    """Several of ``items``, each drawn by itself."""
    return lambda source: [items(source) for _ in range(source.randint(min_size, max_size))]


def some_of(items: Sequence[T], *, max_size: int) -> Strategy[list[T]]:
    """Some of ``items``, at least one, none of them twice, in any order."""
    return lambda source: source.sample(items, source.randint(1, min(max_size, len(items))))
