"""Several workers on this machine, and several devices in one process."""

import csv
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import yaml

from bmzpack.errors import UserError
from kerazoo.training.distribute import Workers, join_workers

WORKER = """
import sys
import keras
import numpy as np
from kerazoo.commands import train
from kerazoo.training import fit

state = {}
original = fit._fit
def observed(job, *rest):
    original(job, *rest)
    values = [*job.model.variables, *job.model.optimizer.variables]
    state.update({str(n): keras.ops.convert_to_numpy(v) for n, v in enumerate(values)})
    state["seen"] = next(iter(job.training(job.feed, 0)))[0].numpy()
fit._fit = observed
train(sys.argv[1], sys.argv[2], resume=len(sys.argv) > 4)
np.savez(sys.argv[3], **state)
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(config, run, out, *words):
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-c", WORKER, str(config), str(run), str(out / f"{index}.npz"), *words]
        environment = os.environ | {"TF_CONFIG": json.dumps(task)}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return outputs, [dict(np.load(out / f"{index}.npz")) for index in range(2)]


@pytest.mark.slow
def test_two_workers_stay_equal_and_learn(make, tmp_path):
    config = make(epochs=4, steps_per_epoch=15, batch_size=4, schedule="constant", learning_rate=5e-3)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    outputs, states = start_workers(path, tmp_path / "run", tmp_path)
    for name in states[0]:
        if name == "seen":
            assert states[0][name].shape[0] == 2
            assert not np.array_equal(states[0][name], states[1][name])
        elif "float" in str(states[0][name].dtype):
            np.testing.assert_array_equal(states[0][name], states[1][name])
    with (tmp_path / "run" / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) < 0.9 * float(rows[0]["val_loss"])
    assert "epoch 1/4" in outputs[0]
    assert "epoch 1/4" not in outputs[1]
    assert json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))["workers"] == 2
    assert json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))["scores"]


MIRRORED = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from kerazoo.commands import train
from kerazoo.training import job
job.replicas = lambda: strategy
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
run = train(sys.argv[1], sys.argv[2], progress=False)
assert strategy.num_replicas_in_sync == 2
"""


@pytest.mark.slow
def test_two_devices_of_one_machine(make, tmp_path):
    """Under the strategy that several GPUs get; the processor, cut in two, stands for them."""
    config = make(epochs=4, steps_per_epoch=15, batch_size=4, schedule="constant", learning_rate=5e-3)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(path), str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) < 0.9 * float(rows[0]["val_loss"])


def test_alone_without_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert join_workers() == Workers(0, 1)
    assert join_workers().chief
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    assert join_workers() == Workers(0, 1)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_unusable_tf_config(content, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", content)
    with pytest.raises(UserError, match="TF_CONFIG"):
        join_workers()
