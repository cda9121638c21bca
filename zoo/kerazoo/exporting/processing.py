"""A run's normalisation in the operations of the BioImage Model Zoo."""

from __future__ import annotations

from typing import Any

from bmzpack.describe.description import Processing
from kerazoo.data.normalise import EPSILON, Normalisation

WHOLE_IMAGE = ["channel", "y", "x"]


def operations(normalisation: Normalisation, channels: int) -> list[Processing]:
    """A normalisation in the operations of the zoo.

    Parameters
    ----------
    normalisation
        With all its numbers.
    channels
        Channels of the images. Numbers of several channels become lists, which the packer puts into the network.

    Returns
    -------
    list of Processing
        None or one.
    """

    def along_channels(**numbers: Any) -> dict[str, Any]:
        if channels == 1:
            return {key: values[0] for key, values in numbers.items()}
        return {"axis": "channel", **numbers}

    match normalisation.method:
        case "none":
            return []
        case "scaling":
            return [Processing(id="scale_linear", kwargs={"gain": 1 / normalisation.maximum, "offset": 0.0})]
        case "centering":
            gain = [1 / normalisation.maximum] * channels
            offset = [-mean for mean in normalisation.mean]
            return [Processing(id="scale_linear", kwargs=along_channels(gain=gain, offset=offset))]
        case "standardisation" if normalisation.scope == "dataset":
            kwargs = along_channels(mean=normalisation.mean, std=normalisation.deviation)
            return [Processing(id="fixed_zero_mean_unit_variance", kwargs=kwargs)]
        case "standardisation":
            return [Processing(id="zero_mean_unit_variance", kwargs={"axes": WHOLE_IMAGE, "eps": EPSILON})]
        case "percentile":
            axes = ["y", "x"] if normalisation.per_channel else WHOLE_IMAGE
            kwargs = {"axes": axes, "min_percentile": normalisation.low, "max_percentile": normalisation.high}
            return [Processing(id="scale_range", kwargs=kwargs | {"eps": EPSILON})]
