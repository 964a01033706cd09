"""The base of what the commands say in one line: their user can mend it."""


class TrainingError(ValueError):
    """Something in the command line, the data, a checkpoint or this machine is not as it must be.

    The text names what is wrong, and what is allowed or what to do.
    """
