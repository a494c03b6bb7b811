"""Search spaces: all that itertools can enumerate, as sequences that are never made as a whole.

::

    space = Permutations(range(10), 8)      1,814,400 items, none of them made yet
    space.size, len(space)                  exact; len() stops at sys.maxsize, size never does
    space[-1], space[10:20], space[::-7]    one item, or the part of the space there
    space[500_000:501_000]                  pickles to some hundred bytes, and starts at once, at itertools' speed

So a search sends its workers places instead of candidates. Arguments, items and order are those of itertools:

    base.py     what all spaces share, and Slice, a part of one
    choices.py  Product, Permutations, Combinations, CombinationsWithReplacement
    joins.py    Range, Chain, Zip

A class attribute ``__eisenmp_slices__ = True`` says: cut me by slices. Spaces are immutable; the pools they are given
are read once, and copied when they are lists or other things that may change.
"""

from __future__ import annotations

from eisenmp.spaces.base import Slice, Space
from eisenmp.spaces.choices import Combinations, CombinationsWithReplacement, Permutations, Product
from eisenmp.spaces.joins import Chain, Range, Zip

__all__ = [
    "Chain",
    "Combinations",
    "CombinationsWithReplacement",
    "Permutations",
    "Product",
    "Range",
    "Slice",
    "Space",
    "Zip",
]
