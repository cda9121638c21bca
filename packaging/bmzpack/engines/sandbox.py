"""The operating system's own protection from what a stranger's weights file may do.

``python sandbox.py POLICY PROGRAM ARGUMENTS...`` limits and confines this process for good, and then runs the program:
a script, or ``-m`` and a module. It is done before any engine is imported. Also the Python 3.10 of the old engines runs
this file: it imports nothing of bmzpack, and nothing besides the standard library.

On Linux a confined process reads its libraries and what the policy names, and writes below its scratch folder only
(Landlock); it has no network, starts no process, signals none, changes no owner, mode or time of a file, and shares no
memory (seccomp, see `bmzpack.engines.system_calls`). On macOS the process is started by ``sandbox-exec``.
"""

import ctypes
import importlib.util
import json
import os
import runpy
import signal
import struct
import sys
from pathlib import Path

SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
)
"""What libraries read while they are loaded."""

# linux/landlock.h
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE, MAKE = 3 << 4, 3 << 7  # folders and files
REFER, TRUNCATE = 1 << 13, 1 << 14
HANDLED = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 4: 2**15 - 1, 5: 2**16 - 1}
"""Kinds of access to files by version of Landlock."""
NO_NEW_PRIVILEGES, PARENT_DEATH_SIGNAL, GET_SECCOMP, SET_SECCOMP = 38, 1, 21, 22


def obstacle():
    """Why this computer cannot confine a process, as an end of a sentence; None where it can."""
    if sys.platform == "darwin":
        return None if Path("/usr/bin/sandbox-exec").exists() else "macOS lacks sandbox-exec"
    if sys.platform != "linux":
        return f"bmzpack knows no sandbox of {sys.platform}"
    if os.uname().machine not in ("x86_64", "aarch64") or sys.maxsize < 2**32:
        return f"Linux on {os.uname().machine} is not known to bmzpack"
    if landlock_version() < 1:
        return "this Linux has no Landlock: it is in Linux 5.13 and later, where it is not switched off"
    if _libc().prctl(GET_SECCOMP, 0, 0, 0, 0) < 0:
        return "this Linux has no seccomp"
    return None


def protection():
    """What confines a process on this computer, for people."""
    return "sandbox-exec" if sys.platform == "darwin" else f"Landlock {landlock_version()} and seccomp"


def landlock_version():
    """Version of Landlock in the kernel; less than 1 where it has none."""
    return _libc().syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))


def limit(memory, disk, seconds):
    """Limit memory, sizes of files and processor time of this process, in bytes and seconds; None for any time."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    wanted = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: disk,
        resource.RLIMIT_CORE: 0,
    }
    if seconds is not None:
        wanted[resource.RLIMIT_CPU] = int(seconds * (os.cpu_count() or 1)) + 1
    for kind, size in wanted.items():
        hard = resource.getrlimit(kind)[1]
        least = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(kind, (least, least))


def end_with(parent):
    """End this process with the one that started it, also where that is killed."""
    if sys.platform == "linux":
        _libc().prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            raise SystemExit("the program that started this one has ended")


def confine(scratch, reads):
    """Confine this process and all that it starts, for good; every thread that runs already is left out.

    Raises
    ------
    OSError
        The system refused.
    """
    libc = _libc()
    program = _system_calls().program(os.uname().machine, os.getpid())
    _checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _give_up_capabilities(libc)
    _restrict_files(libc, scratch, [*SYSTEM, *libraries(), *reads])
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
    _checked(libc.prctl(SET_SECCOMP, 2, ctypes.create_string_buffer(head, len(head)), 0, 0))


def libraries():
    """Folders from which this Python and its shared libraries are loaded."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]
    found += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [path for path in found if Path(path).is_absolute()]


def profile(scratch, reads):
    """The same as `confine` for ``sandbox-exec`` of macOS, in its language."""
    allowed = [str(Path(path).resolve()) for path in (*libraries(), *reads, scratch)]
    home = str(Path.home().resolve())
    return "\n".join(
        [
            "(version 1)",
            "(allow default)",
            "(deny network*)",
            "(deny signal (target others))",
            "(deny process-fork)",
            f"(deny file-read-data (subpath {json.dumps(home)}) (subpath {json.dumps('/Users')}))",
            f"(allow file-read* {' '.join(f'(subpath {json.dumps(path)})' for path in allowed)})",
            "(deny file-write*)",
            f'(allow file-write* (subpath {json.dumps(str(Path(scratch).resolve()))}) (literal "/dev/null"))',
            "(deny file-write-create (vnode-type SYMLINK))",
        ]
    )


def _restrict_files(libc, scratch, reads):
    version = landlock_version()
    handled = HANDLED[min(version, max(HANDLED))]
    parts = [handled]
    if version >= 4:
        parts.append(3)  # to bind and connect TCP
    if version >= 6:
        parts.append(3)  # abstract sockets and signals of others
    attributes = struct.pack(f"={len(parts)}Q", *parts)
    ruleset = _checked(libc.syscall(444, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    rules = [(path, READ_FILE | READ_DIR) for path in dict.fromkeys(reads)]
    rules.append((scratch, READ_FILE | READ_DIR | WRITE_FILE | REMOVE | MAKE | REFER | TRUNCATE))
    rules.append(("/dev/null", READ_FILE | WRITE_FILE | TRUNCATE))
    for path, access in rules:
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not Path(path).is_dir():
            access &= READ_FILE | WRITE_FILE | TRUNCATE
        rule = struct.pack("=Qi", access & handled, file)
        _checked(libc.syscall(445, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0)))
        os.close(file)
    _checked(libc.syscall(446, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    os.close(ruleset)


def _give_up_capabilities(libc):
    """Give up root's capabilities, with which limits could be lifted again."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _checked(libc.syscall({"x86_64": 126, "aarch64": 91}[os.uname().machine], header, none))


def _checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _libc():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    libc.syscall.restype = ctypes.c_long
    return libc


def _system_calls():
    """The module beside this file, also where there is no bmzpack to import it from."""
    path = Path(__file__).with_name("system_calls.py")
    specification = importlib.util.spec_from_file_location("system_calls", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main():
    """Run the program of the command line as its policy says."""
    policy = json.loads(sys.argv[1])
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    end_with(policy["parent"])
    limit(policy["memory"], policy["disk"], policy["seconds"])
    if policy["confined"]:
        confine(policy["scratch"], policy["reads"])
    sys.argv = sys.argv[2:]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
