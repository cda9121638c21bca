"""Descriptions changed at random, each known by its number: ``python mutations.py FIRST LAST FOLDER [ZOO]``.

Checks the bundles in FOLDER, and the published descriptions in ZOO/rdf, with changed descriptions, and prints as JSON
what went wrong, and what it took. Run as a program, so that memory and modules are those of checks alone.
"""

import copy
import datetime
import io
import json
import math
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time
import traceback

import yaml

NUMBERS = (
    *(0, -1, 1, 3, 7, 40, 0.5, -0.0, 1e-9, 2**31, 2**63, 2**64, 10**30, -(10**30), 10**400),
    *(math.nan, math.inf, -math.inf, 1e308, 5e-324, True),
)
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\ufeff",
        "\ud800",
        "é" * 50,
        "😀",
        "a" * 5000,
        "..",
        ".",
        "~",
        "{}",
        "%s",
        "{0}",
    ),
    *(
        "../rdf.yaml",
        "/etc/passwd",
        "C:\\x",
        "http://",
        "https://[::1",
        "file:///etc/passwd",
        "rdf.yaml",
        "NaN",
        "1e999",
    ),
    *("batch", "channel", "x", "y", "z", "time", "index", "space", "raw", "byxc", "bcyx", "yx", "ıİßſ", "२", "float32"),
    *(
        "bool",
        "uint64",
        "int999",
        "complex64",
        "onnx",
        "torchscript",
        "pytorch_state_dict",
        "keras_v3",
        "1.9e5",
        "0x10",
    ),
)
VERSIONS = (
    *(
        "0.5.10",
        "0.5.12",
        "0.5.999",
        "0.4.10",
        "0.4",
        "0.3.6",
        "0.5",
        "0.6.0",
        "1.0",
        "0.5.x",
        "0..5",
        ".",
        "-1",
        "latest",
    ),
    *(0.5, 0.4, 5, None, [0, 5, 10], {"major": 0}, "0.5." + "9" * 5000, "٠.٥.١٠", "0.5.10\n", " 0.5.10"),
)
OPERATIONS = (
    *("binarize", "clip", "scale_linear", "scale_range", "sigmoid", "softmax", "zero_mean_unit_variance", "custom"),
    *("ensure_dtype", "scale_mean_variance", "fixed_zero_mean_unit_variance", "stardist_postprocessing"),
)
SIZES = (
    *({"min": 0, "step": 0}, {"min": -16, "step": 16}, {"min": 10**18, "step": 1}, {"min": 1, "step": 10**18}),
    *({"min": 40, "step": 16}, {"min": math.nan, "step": math.inf}, {"min": "32", "step": [16]}, {"min": 32}, {}),
    *(
        {"tensor_id": "raw"},
        {"tensor_id": "raw", "axis_id": "x", "offset": math.nan},
        {"max": -1},
        {"min": 5, "max": 1},
    ),
    *({"tensor_id": None, "axis_id": []}, {"tensor_id": "raw", "axis_id": "y", "offset": -(10**12)}, [16], "16", -16),
)
SECONDS = 2
"""Processor time of one check."""


def places(value, path=()):
    """All places in a description."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def at(value, path):
    """What is at a place."""
    for key in path:
        value = value[key]
    return value


def value_of(chance, depth=3):
    """Any value that YAML can hold."""
    kind = chance.randrange(10)
    if kind < 3:
        return chance.choice(NUMBERS)
    if kind < 6:
        return chance.choice(TEXTS)
    if kind == 6 or not depth:
        return chance.choice([None, True, False, b"\xff", datetime.date(1, 1, 1), datetime.datetime(9999, 12, 31)])
    if kind == 7:
        return nested(chance.choice([3, 30, 300]), chance.random() < 0.5)
    values = [value_of(chance, depth - 1) for _ in range(chance.randrange(4))]
    return values if kind == 8 else {chance.choice([*TEXTS, None, 1, 2.5, False]): value for value in values}


def mappings(value):
    """The mappings in a list, if it is one."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def nested(depth, lists):
    """A value in as many others."""
    value = "x"
    for _ in range(depth):
        value = [value] if lists else {"source": value}
    return value


def change(rdf, chance):
    """Change a description at one place, in its place."""
    paths = [path for path in places(rdf) if path]
    # metadata is most of a description, and the least of what programs read
    deep = [path for path in paths if path[0] in ("inputs", "outputs", "weights", "test_inputs", "config")]
    if not paths:
        return
    path = chance.choice(deep if deep and chance.random() < 0.7 else paths)
    parent, key = at(rdf, path[:-1]), path[-1]
    value, kind = parent[key], chance.randrange(13)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        parent[key] = value_of(chance)
    elif kind == 2:
        parent[key] = chance.choice([[value], {"source": value}, {str(key): value}, [[[value]]], [value, value]])
    elif kind == 3 and isinstance(value, dict | list) and value:
        parent[key] = chance.choice([*value.values()] if isinstance(value, dict) else value)
    elif kind == 4 and isinstance(parent, dict):
        parent[chance.choice([*TEXTS, None, 1, datetime.date(2000, 1, 1)])] = parent.pop(key)
    elif kind == 5 and isinstance(parent, list):
        parent.extend(copy.deepcopy(value) for _ in range(chance.choice([1, 1, 3, 40])))
    elif kind == 6:
        parent[key] = copy.deepcopy(at(rdf, chance.choice(paths)))
    elif kind == 7:
        rdf[chance.choice(list(rdf))] = value  # the same object twice becomes an alias
    elif kind == 8:
        parent[key] = type(value)() if isinstance(value, dict | list | str) else None
    elif kind == 9 and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = chance.choice([-value, value * 10**12, value * 0.37, str(value), [value], 0, *NUMBERS])
    elif kind == 10 and isinstance(value, list):
        chance.shuffle(value)
    else:
        of_kind(rdf, chance)


def of_kind(rdf, chance):
    """Change what has a meaning of its own: versions, sizes, axes, operations, references."""
    tensors = [entry for key in ("inputs", "outputs") for entry in mappings(rdf.get(key))]
    axes = [axis for entry in tensors for axis in mappings(entry.get("axes"))]
    kind = chance.randrange(7)
    if kind == 0:
        rdf["format_version"] = chance.choice(VERSIONS)
    elif kind == 1 and axes:
        chance.choice(axes)[chance.choice(["size", "halo", "scale", "id", "type", "unit", "channel_names"])] = (
            chance.choice([*SIZES, *NUMBERS, *TEXTS])
        )
    elif kind == 2 and len(axes) > 1:
        one, other = chance.sample(axes, 2)
        key = chance.choice(["id", "type", "size"])
        one[key], other[key] = other.get(key), one.get(key)
    elif kind == 3 and tensors:
        arguments = {
            chance.choice(["axes", "axis", "gain", "min", "max", "mean", "std", "threshold", "mode"]): value_of(chance)
        }
        name = chance.choice(OPERATIONS)
        made = {"id": name, "name": name, "kwargs": chance.choice([arguments, {}, None, value_of(chance)])}
        chance.choice(tensors)[chance.choice(["preprocessing", "postprocessing"])] = [made] * chance.choice(
            [1, 1, 2, 50]
        )
    elif kind == 4 and tensors:
        chance.choice(tensors)[chance.choice(["id", "name", "shape", "data", "data_type", "axes", "halo"])] = (
            chance.choice(
                [*SIZES, *TEXTS, *NUMBERS, [1, 64, 64, 1], [-1] * 40, {"type": "bool"}, [{"values": [math.nan]}]]
            )
        )
    elif kind == 5 and isinstance(rdf.get("weights"), dict) and rdf["weights"]:
        entry = chance.choice([*rdf["weights"].values()])
        if isinstance(entry, dict):
            keys = [
                "pytorch_version",
                "opset_version",
                "tensorflow_version",
                "parent",
                "source",
                "sha256",
                "architecture",
            ]
            entry[chance.choice(keys)] = chance.choice([*VERSIONS, *TEXTS, *NUMBERS, {"callable": None}, []])
    elif len(axes) > 1:
        # sizes that follow one another in a circle
        chosen = [axis for axis in axes if "size" in axis] or axes
        name = next(iter(entry.get("id") for entry in tensors))
        for axis, other in zip(chosen, [*chosen[1:], chosen[0]], strict=True):
            axis["size"] = {"tensor_id": name, "axis_id": other.get("id", "x"), "offset": chance.choice(NUMBERS)}


def mutation(number, originals):
    """A changed description: its place in the originals, and its text in bytes."""
    chance = random.Random(number)
    place = chance.randrange(len(originals))
    rdf = copy.deepcopy(originals[place])
    for _ in range(chance.choice([1, 1, 2, 3, 6])):
        change(rdf, chance)
        if not isinstance(rdf, dict) or not rdf:
            break
    try:
        content = yaml.dump(rdf, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    except RecursionError:
        content = chance.choice([b"[", b"{a: ", b"- "]) * 3000
    if chance.random() < 0.1:
        cut = chance.randrange(len(content) + 1)
        content = chance.choice([content[:cut], content[:cut] + b"\xff\0" + content[cut:], content * 2])
    return place, content


def main(first, last, folder, zoo=None):
    """Check mutations, and print what was found."""
    asked = []

    def refuse(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
            asked.append(f"{event} {arguments}")

    sys.addaudithook(refuse)
    from rich.console import Console

    from bmzpack import check
    from bmzpack.consumers import page, terminal
    from bmzpack.errors import UserError

    found = {"tracebacks": {}, "refused": 0}
    seconds = {}
    with tempfile.TemporaryDirectory() as copied:
        shutil.copytree(folder, copied, dirs_exist_ok=True)
        alone = pathlib.Path(copied, "alone")
        alone.mkdir()
        bundles = sorted(path.parent for path in pathlib.Path(copied).glob("*/rdf.yaml"))
        published = sorted(pathlib.Path(zoo, "rdf").glob("*.yaml")) if zoo else []
        files = [*(bundle / "rdf.yaml" for bundle in bundles), *published]
        originals = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
        for number in range(int(first), int(last)):
            place, content = mutation(number, originals)
            bundle = bundles[place] if place < len(bundles) else alone
            (bundle / "rdf.yaml").write_bytes(content)
            started = time.process_time()
            try:
                report = check(bundle)
                seconds[number] = time.process_time() - started
                json.dumps(report.as_dict())
                page.render(report)
                terminal.show(report, Console(file=io.StringIO()))
            except UserError:
                seconds[number] = time.process_time() - started
                found["refused"] += 1
            except BaseException:
                found["tracebacks"][number] = traceback.format_exc()
    longest = max(seconds, key=seconds.get)
    found |= {"longest": longest, "seconds": seconds[longest]}
    found["megabytes"] = int(re.search("VmHWM:\\s*([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
    found["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps(found | {"asked": asked}))


if __name__ == "__main__":
    main(*sys.argv[1:])
