"""When the steps of a training with torch end."""

import time

from torch.optim.optimizer import register_optimizer_step_post_hook


def clock():
    """A list that grows by the time of every end of a step, in seconds."""
    ends = []
    register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    return ends
