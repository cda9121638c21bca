"""The one exception for what a user can mend."""


class UserError(ValueError):
    """What is wrong, where, and what to do, in one or two sentences; the commands print it and exit with code 2."""
