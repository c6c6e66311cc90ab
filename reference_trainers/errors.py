"""Errors that are the user's to fix, and the sentence of any other."""

import textwrap

LONGEST = 400  # characters of a library's message that still help
LONGEST_LINE = 3000  # the longest path has 4096, and helps nobody by then


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
    message = str(error).strip() or f"{type(error).__name__} without a message"
    if isinstance(error, KeyError) and error.args:  # often the key alone
        key = str(error.args[0])
        message = key if " " in key else f"{key!r} is missing or unknown"
    return textwrap.shorten(message, LONGEST, placeholder=" [...]").rstrip(".") + "."


def line_of(error: InputError) -> str:
    """Its line on stderr: names and values in it are a user's, and hold anything."""
    line = one_line(str(error))
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2
    return f"{line[:half]} [...] {line[-half:]}"


# What would break a line for str.splitlines, as its escape
_ESCAPES = str.maketrans(
    {"\n": "\\n", "\r": "\\r"}
    | {c: f"\\u{ord(c):04x}" for c in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"}
)


def one_line(text: str) -> str:
    """A text, a prediction say, without what breaks a line."""
    return text.translate(_ESCAPES)
