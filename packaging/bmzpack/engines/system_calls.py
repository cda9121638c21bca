"""The system calls of Linux that a confined process may not make, as a program for seccomp.

The process computes, with threads, on files that Landlock leaves it. Refused is what reaches other processes, the
network, or files past Landlock, which does not look at modes, owners and times. Like `bmzpack.engines.sandbox` it is
executed by old Pythons too.
"""

import errno
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# number on x86_64 and on aarch64; None where it does not exist
REFUSED = {
    # other processes
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "tkill": (200, 130),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    # network
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # files: modes, owners, attributes, times
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "truncate": (76, 45),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "chroot": (161, 51),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # memory beyond the limit, which counts that of the process alone
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # the system
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "iopl": (172, None),
    "ioperm": (173, None),
}
"""Answered by EPERM."""
ABSENT = {
    "clone3": (435, 435),  # its flags lie in memory, where seccomp cannot see them: clone is used instead
    "openat2": (437, 437),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
"""Answered as by a kernel that has them not."""

THREAD = 0x10000
SHARED_ANONYMOUS = 0x21
READ_AND_TRUNCATE, ACCESS_AND_TRUNCATE = 0x200, 0x203
PARENT_DEATH_SIGNAL = 1

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL = 0x7FFF0000, 0x80000000
NUMBER, ARCHITECTURE = 0, 4


def program(machine, process):
    """Instructions for seccomp.

    Parameters
    ----------
    machine
        Key of `ARCHITECTURES`.
    process
        Id of the process that is confined, the only one that it may signal.

    Returns
    -------
    bytes
        Instructions as ``struct sock_filter``, 8 bytes each.
    """
    column = list(ARCHITECTURES).index(machine)
    refuse, absent = _error(errno.EPERM), _error(errno.ENOSYS)
    own = [
        (LOAD, 0, 0, _argument(0)),
        (JUMP_EQUAL, 1, 0, process),
        refuse,
    ]
    lines = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_AT_LEAST, 0, 1, 0x40000000),  # those of x32
        absent,
    ]
    conditions = {
        (56, 220): [(LOAD, 0, 0, _argument(0)), (JUMP_ANY_BIT, 1, 0, THREAD), refuse],  # clone
        (62, 129): own,  # kill
        (234, 131): own,  # tgkill
        (129, 138): own,  # rt_sigqueueinfo
        (297, 240): own,  # rt_tgsigqueueinfo
        (302, 261): [  # prlimit64
            (LOAD, 0, 0, _argument(0)),
            (JUMP_EQUAL, 2, 0, 0),
            (JUMP_EQUAL, 1, 0, process),
            refuse,
        ],
        (9, 222): [  # mmap
            (LOAD, 0, 0, _argument(3)),
            (AND, 0, 0, SHARED_ANONYMOUS),
            (JUMP_EQUAL, 0, 1, SHARED_ANONYMOUS),
            refuse,
        ],
        (157, 167): [(LOAD, 0, 0, _argument(0)), (JUMP_EQUAL, 0, 1, PARENT_DEATH_SIGNAL), refuse],  # prctl
        (44, 206): [  # sendto an address
            (LOAD, 0, 0, _argument(4)),
            (JUMP_EQUAL, 0, 2, 0),
            (LOAD, 0, 0, _argument(4) + 4),
            (JUMP_EQUAL, 1, 0, 0),
            refuse,
        ],
        # the first versions of Landlock let a file be emptied that may be read only
        (2, None): _emptied(1, refuse),  # open
        (257, 56): _emptied(2, refuse),  # openat
    }
    for numbers, block in conditions.items():
        if numbers[column] is not None:
            lines += [(JUMP_EQUAL, 0, len(block) + 1, numbers[column]), *block, (RETURN, 0, 0, ALLOW)]
    for table, answer in ((REFUSED, refuse), (ABSENT, absent)):
        for numbers in table.values():
            if numbers[column] is not None:
                lines += [(JUMP_EQUAL, 0, 1, numbers[column]), answer]
    lines.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _emptied(argument, refuse):
    return [
        (LOAD, 0, 0, _argument(argument)),
        (AND, 0, 0, ACCESS_AND_TRUNCATE),
        (JUMP_EQUAL, 0, 1, READ_AND_TRUNCATE),
        refuse,
    ]


def _argument(index):
    return 16 + 8 * index


def _error(number):
    return RETURN, 0, 0, 0x00050000 | number
