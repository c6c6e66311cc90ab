"""The one kind of error that is the user's to mend; never carries a traceback."""


class InputError(Exception):
    """Bad input: one or two sentences that name what is wrong, where, and the mend.

    The command line prints it on stderr and exits with status 2.
    """


class TrainingStopped(Exception):
    """A run that a signal stopped after a finished step.

    ``exit_status`` is 128 + the signal's number, as a shell would report it.
    """

    def __init__(self, message: str, exit_status: int):
        super().__init__(message)
        self.exit_status = exit_status
