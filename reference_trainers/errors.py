"""Errors that are the user's to fix, and the sentence of any other."""

import textwrap

LONGEST = 400  # characters of a library's message that still help


class InputError(Exception):
    """Bad input: one or two sentences that name what is wrong, where, and the fix.

    The command line prints it on stderr and exits with status 2.
    """


class TrainingStopped(Exception):
    """A run that a signal stopped after a finished step.

    ``exit_status`` is 128 + the signal's number, as a shell would report it.
    """

    def __init__(self, message: str, exit_status: int):
        super().__init__(message)
        self.exit_status = exit_status


class ProcessLost(TrainingStopped):
    """Another process of the run has died, or the way to it."""

    def __init__(self) -> None:
        super().__init__(
            "Another process of the run has ended. What is saved stands: start the run "
            "again to go on from it.",
            exit_status=1,
        )


def sentence_of(error: BaseException) -> str:
    """A library's message on one line, as a sentence; cut where it is long."""
    message = str(error).strip() or type(error).__name__
    return textwrap.shorten(message, LONGEST, placeholder=" [...]").rstrip(".") + "."
