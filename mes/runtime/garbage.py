"""Spares a process that runs for long the search for garbage that is hardly there."""

import gc

_OBJECTS = 5_000


def search_rarely() -> None:
    """To be called once, when all is loaded.

    Python looks for cycles whenever 700 more objects live than before, which took one in twenty-five of the API's
    microseconds, and found next to nothing. And what is loaded by now stays: looking through it again and again would
    stop calls for milliseconds, and a worker's roles for 75.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
