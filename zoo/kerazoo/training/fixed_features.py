"""A classifier's head, trained on features that are computed once: a fixed encoder gives the same ones each epoch."""

from __future__ import annotations

from typing import Any

import keras

from kerazoo.data.feed import Feed


def head_of(network: keras.Model, feed: Feed, layer: str) -> tuple[Any, Feed] | None:
    """The head of a network with a layer of features, and what it is fed with.

    Parameters
    ----------
    network
        Behind its layer of features one layer follows the other.
    feed
        What the network is trained on.
    layer
        Name of the layer of features.

    Returns
    -------
    tuple or None
        The layers behind the features, shared with the network, as a model from `features` to the network's output;
        and their feed. None where there is no such layer, or patches are others in every epoch.
    """
    names = [layer.name for layer in network.layers]
    if layer not in names:
        return None
    features = network.get_layer(layer).output
    fed = feed.of_features(keras.Model(network.inputs, features))
    if fed is None:
        return None
    x = inputs = keras.Input(features.shape[1:], name=layer)
    for name in names[names.index(layer) + 1 :]:
        x = network.get_layer(name)(x)
    return keras.Model(inputs, x), fed
