"""A process of the run that is gone: every framework tells it in words of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from reference_trainers.errors import ProcessLost
from reference_trainers.world import world_of

GONE = re.compile("connection|peer|unhealthy|heartbeat|unavailable", re.IGNORECASE)


@contextmanager
def lost_processes_told(*errors: type[Exception]) -> Iterator[None]:
    """Raises `ProcessLost` for an error of these types that says so."""
    try:
        yield
    except errors as error:
        if world_of().size > 1 and GONE.search(str(error)):
            raise ProcessLost from error
        raise
