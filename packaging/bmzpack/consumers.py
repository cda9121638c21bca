"""What bioimageio.core cannot run."""

from __future__ import annotations


def core_obstacle(name: str, inputs: int, outputs: int) -> str | None:
    """What keeps bioimageio.core 0.11 from running a weights format, given the numbers of inputs and outputs."""
    if inputs > 1 and name in ("keras_v3", "keras_hdf5", "tensorflow_saved_model_bundle"):
        return f"bioimageio.core runs {name} with one input only."  # it calls model.predict(*inputs)
    if outputs > 1 and name == "tensorflow_saved_model_bundle":
        return (
            f"bioimageio.core takes the outputs of {name} in no certain order."  # that of a map of the protocol buffer
        )
    return None
