"""What a forked child has to put right before it goes on."""

import os
from collections.abc import Callable


def in_child(call: Callable[[], object]) -> None:
    """Have each child that is forked from now on call a function first. Windows has no forks.

    Args:
        call: The function.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
