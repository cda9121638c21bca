"""Times of the steps of a training."""

import time

import keras


class Clock(keras.callbacks.Callback):
    """Time between the ends of steps: what `fit` does before and after its steps is the same for all."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())
