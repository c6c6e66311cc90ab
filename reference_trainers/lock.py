"""The lock on an output folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from reference_trainers.errors import InputError


class Lock:
    """Holds an output folder for one run: a second one is refused with InputError.

    The kernel holds it on the folder itself: there is no file to clean up, and it
    ends with the process however that ends. Whoever empties the folder must not
    replace it. Of a run of several processes, only the first takes it.
    """

    def __init__(self, output_dir: Path):
        self.output_dir = output_dir
        self.warnings: list[str] = []
        """Says so where the file system has no locks; the run does without."""

    def __enter__(self) -> Self:
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.output_dir, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            reason = f"--output_dir {self.output_dir}: {error.strerror}."
            raise InputError(reason) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise InputError(
                f"{self.output_dir}: another run is writing there. "
                "Wait for its end, or name another --output_dir."
            ) from error
        except OSError as error:
            self.warnings.append(
                f"{self.output_dir} cannot be locked ({error.strerror}): "
                "see to it that no other run writes there."
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
