"""How often Python looks for cycles among objects."""

import gc

_ALLOCATIONS = 1_000_000


def collect_rarely() -> None:
    """Let the garbage collector run once in many chunks instead of many times in each.

    A chunk makes tens of thousands of objects that live until its end and have no cycles: looking for some among them
    costs as much as decoding them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 50, 100)
