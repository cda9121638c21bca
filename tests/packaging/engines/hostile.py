"""Engines that attack the computer that they run on: the import of a framework, and then system calls.

The weights file is a JSON of what they are to do. It is executed by workers, and imports nothing of bmzpack.
"""

# the calls of the system are what is tried
# ruff: noqa: PTH102, PTH123, PTH208, PTH211, SIM105

import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

LIBC = ctypes.CDLL(None, use_errno=True)


def load(job, inputs, outputs):
    """A call that tries all that is named, and gives 1 for each thing that could be done."""
    importlib.import_module(job["engine"])
    task = json.loads(Path(job["weights"]).read_text())
    tried = [globals()[name] for name in task["attacks"]]

    def call(tensors):
        return [np.array([_done(attack, task) for attack in tried])]

    return call


def _done(attack, task):
    try:
        attack(task)
    except (OSError, MemoryError):
        return 0
    return 1


def _called(*arguments):
    if LIBC.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(task):
    Path(task["folder"], "mark").write_text("done")


def write_home(task):
    (Path.home().parent / "mark").write_text("done")


def read(task):
    Path(task["folder"], "secret").read_text()


def read_by_link(task):
    os.symlink(Path(task["folder"], "secret"), "link")
    Path("link").read_text()


def hard_link(task):
    os.link(Path(task["folder"], "secret"), "linked")


def list_folder(task):
    os.listdir(task["folder"])


def read_parent(task):
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def empty(task):
    os.truncate(Path(task["folder"], "secret"), 0)


def empty_by_opening(task):
    os.open(Path(task["folder"], "secret"), os.O_RDONLY | os.O_TRUNC)


def remove(task):
    Path(task["folder"], "secret").unlink()


def change_mode(task):
    Path(task["folder"], "secret").chmod(0o777)


def change_times(task):
    os.utime(Path(task["folder"], "secret"), (0, 0))


def connect(task):
    socket.create_connection(("127.0.0.1", task["port"]), timeout=1)


def send(task):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"secret", ("127.0.0.1", 9))


def abstract_socket(task):
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].sendto(b"secret", "\0anything")


def raw_socket_call(task):
    _called({"x86_64": 41, "aarch64": 198}[os.uname().machine], 2, 1, 0)


def ring(task):
    _called(425, 8, ctypes.create_string_buffer(256))


def fork(task):
    if os.fork() == 0:
        os._exit(0)


def spawn(task):
    subprocess.run([sys.executable, "-c", ""], check=True)


def become(task):
    os.execv("/bin/true", ["true"])


def signal_parent(task):
    os.kill(os.getppid(), signal.SIGCONT)


def signal_all(task):
    os.kill(-1, signal.SIGCONT)


def trace_parent(task):
    _called({"x86_64": 101, "aarch64": 117}[os.uname().machine], 16, os.getppid(), 0, 0)


def outlive_parent(task):
    if LIBC.prctl(1, 0, 0, 0, 0) < 0:
        raise OSError


def lift_limit(task):
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError from error


def new_namespace(task):
    if LIBC.unshare(0x10000000) < 0:
        raise OSError


def memory(task):
    np.ones(100 * 2**27)


def hidden_memory(task):
    import mmap

    mmap.mmap(-1, 2**20)


def memory_file(task):
    os.memfd_create("hidden")


# what ends the worker


def loop(task):
    while True:
        pass


def sleep(task):
    time.sleep(1000)


def threads(task):
    while True:
        try:
            threading.Thread(target=time.sleep, args=(1000,)).start()
        except RuntimeError:
            pass


def files(task):
    number = 0
    while True:
        number += 1
        Path(f"file{number}").touch()


def fill(task):
    for number in range(4):  # no file is as large as a file may be
        with open(f"large{number}", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2**23)
    time.sleep(1000)


def deep(task):
    for _ in range(1500):
        os.mkdir("a" * 50)
        os.chdir("a" * 50)
    time.sleep(1000)


def leave(task):
    os._exit(0)


def crash(task):
    os.kill(os.getpid(), signal.SIGSEGV)


def escape_codes(task):
    sys.stderr.write("\x1b]0;faked\x07\x1b[2J all is well\n")
    sys.stderr.flush()
    os._exit(1)
