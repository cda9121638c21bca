"""A weights file in an engine."""

from bmzpack import engines
from bmzpack.errors import UserError


def run(engine, path, inputs, names):
    """The outputs and the time of one call; raises what the engine says where it cannot run the file."""
    (attempt,) = engines.attempt_files([(engine, path)], inputs, names)
    result = attempt.result()
    if isinstance(result, UserError):
        raise result
    return result
