"""The corpus: bundles broken in exactly one way, each with the rule that is meant for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib import metadata

import numpy as np
from corpus import ANY, SAVED_MODEL, Bundle, Network, picture, zipped
from onnx import TensorProto
from PIL import Image

Break = Callable[[Bundle], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A way in which a bundle is broken."""

    name: str
    rule: str
    """The only one that is found."""
    minds: dict[str, str]
    """Verdict by consumer, of those that have a finding; all others find nothing."""
    break_: Break
    base: str = "clean"
    says: str = ""
    """A part of what is found."""
    pydantic: str | None = None
    """The version that seems to be installed."""
    also: tuple[str, ...] = ()
    """Rules of some consumers that say the same in their own way."""


CASES: dict[str, Case] = {}

FAILS, DEGRADED, OPENS = "fails", "degraded", "opens"
EVERYWHERE = dict.fromkeys(("fiji", "ilastik", "qupath", "core"), FAILS)


def case(
    rule: str,
    base: str = "clean",
    says: str = "",
    pydantic: str | None = None,
    also: tuple[str, ...] = (),
    **minds: str,
):
    """Enter a function that breaks a bundle; its name is the name of the case."""

    def enter(break_: Break) -> Break:
        name = break_.__name__
        assert name not in CASES
        CASES[name] = Case(name, rule, minds, break_, base, says, pydantic, also)
        return break_

    return enter


# the description


@case("D1", **EVERYWHERE)
def type_of_another_resource(bundle):
    bundle.rdf["type"] = "dataset"


@case("D1", **EVERYWHERE)
def inputs_are_a_mapping(bundle):
    bundle.rdf["inputs"] = bundle.rdf["inputs"][0]


@case("D1", **EVERYWHERE)
def no_outputs(bundle):
    bundle.rdf["outputs"] = []


@case("D1", **EVERYWHERE)
def outputs_are_missing(bundle):
    del bundle.rdf["outputs"]


@case("D1", **EVERYWHERE)
def input_is_a_text(bundle):
    bundle.rdf["inputs"] = ["raw"]


@case("D1", **EVERYWHERE)
def weights_are_a_list(bundle):
    bundle.rdf["weights"] = [bundle.rdf["weights"]]


@case("D1", **EVERYWHERE)
def weights_entry_is_a_text(bundle):
    bundle.rdf["weights"]["onnx"] = "weights.onnx"


@case("D1", **EVERYWHERE)
def tensor_without_axes(bundle):
    bundle.rdf["inputs"][0]["axes"] = []


@case("D1", **EVERYWHERE)
def operation_is_a_text(bundle):
    bundle.rdf["inputs"][0]["preprocessing"] = ["zero_mean_unit_variance"]


@case("D1", **EVERYWHERE)
def description_is_a_list(bundle):
    bundle.rdf = [bundle.rdf]


@case("D1", ilastik=FAILS, core=FAILS)
def unit_that_is_none(bundle):
    bundle.axis("inputs", "y")["unit"] = "cubits"


@case("D1", ilastik=FAILS, core=FAILS)
def author_without_name(bundle):
    bundle.rdf["authors"] = [{"github_user": "bioimageiobot"}]


@case("D1", ilastik=FAILS, core=FAILS)
def citation_without_source(bundle):
    bundle.rdf["cite"] = [{"text": "Lovelace (1843), Notes"}]


@case("D1", base="old", **EVERYWHERE)
def old_input_without_axes(bundle):
    del bundle.rdf["inputs"][0]["axes"]


@case("D2", **EVERYWHERE)
def format_of_tomorrow(bundle):
    bundle.rdf["format_version"] = "0.6.0"


@case("D2", **EVERYWHERE)
def format_version_is_a_number(bundle):
    bundle.rdf["format_version"] = 0.5


@case("D2", **EVERYWHERE)
def format_version_is_missing(bundle):
    del bundle.rdf["format_version"]


@case("R1", fiji=FAILS, ilastik=FAILS, qupath=FAILS)
def form_of_the_newest_format(bundle):
    bundle.rdf["format_version"] = "0.5.12"
    bundle.rdf["documentation"] = {"source": "README.md", "sha256": None}
    bundle.rdf["covers"] = [{"source": "cover.png", "sha256": None}]


@case("R1", core=FAILS)
def plain_texts_in_the_newest_format(bundle):
    bundle.rdf["format_version"] = "0.5.12"


@case("R2", fiji=FAILS)
def no_nickname(bundle):
    bundle.rdf["config"] = {"bioimageio": {}}


@case("R2", fiji=FAILS)
def config_of_another_program(bundle):
    bundle.rdf["config"] = {"deepimagej": {}}


@case("R2", core=OPENS)
def own_id(bundle):
    bundle.rdf["id"] = "still-goose"


@case("R3", fiji=FAILS)
def description_of_another_name(bundle):
    bundle.name = "bioimageio.yaml"


@case("R3", fiji=FAILS)
def description_called_model(bundle):
    bundle.name = "model.yaml"


@case("R4", fiji=DEGRADED, says="2.1")
def version_is_a_number(bundle):
    bundle.rdf["weights"][SAVED_MODEL]["tensorflow_version"] = 2.10


@case("R4", fiji=OPENS)
def version_of_two_numbers(bundle):
    bundle.rdf["weights"]["torchscript"]["pytorch_version"] = "2.13"


@case("R9", fiji=OPENS)
def no_link_to_deepimagej(bundle):
    bundle.rdf["links"].remove("deepimagej/deepimagej")


@case("R9", ilastik=OPENS)
def no_link_to_ilastik(bundle):
    bundle.rdf["links"].remove("ilastik/ilastik")


@case("R9", qupath=OPENS)
def no_link_to_qupath(bundle):
    bundle.rdf["links"].remove("bioimageio/qupath")


@case("R9", fiji=OPENS, ilastik=OPENS, qupath=OPENS)
def tags_in_the_place_of_links(bundle):
    del bundle.rdf["links"]


def _incomplete(key: str) -> None:
    def break_(bundle):
        del bundle.rdf[key]

    break_.__name__ = f"no_{key}"
    if key in ("authors", "description", "license", "documentation"):
        case("R10", core=OPENS, qupath=FAILS, also=("D4",))(break_)
    else:
        case("R10", core=OPENS)(break_)


for _key in ("authors", "cite", "description", "license", "maintainers", "tags", "documentation"):
    _incomplete(_key)


@case("R10", core=OPENS, says="Validation")
def no_validation(bundle):
    bundle.write("README.md", b"# Mean of neighbours\n\nIt was not validated.\n")


@case("D1", ilastik=FAILS, core=FAILS)
def name_that_says_nothing(bundle):
    bundle.rdf["name"] = "unet"


@case("D1", ilastik=FAILS, core=FAILS)
def licence_that_is_none(bundle):
    bundle.rdf["license"] = "free for all"


@case("R11", fiji=FAILS, says="no weights of StarDist")
def stardist_by_name_and_config(bundle):
    bundle.rdf["name"] = "StarDist of nuclei"
    bundle.rdf["config"]["stardist"] = {"prob_thresh": 0.5}


@case("R11", fiji=FAILS, base="old", says="joined twice")
def old_stardist(bundle):
    bundle.rdf["name"] = "StarDist of nuclei"
    bundle.rdf["config"]["stardist"] = {"prob_thresh": 0.5}


@case("R11", fiji=DEGRADED)
def cellpose_in_the_config(bundle):
    bundle.rdf["config"]["cellpose"] = {"diameter": 30}


@case("R12", core=OPENS)
def no_cover(bundle):
    del bundle.rdf["covers"]


@case("R12", core=OPENS, says="500 x 300")
def cover_of_odd_shape(bundle):
    bundle.write("cover.png", picture(500, 300))


@case("R12", core=OPENS, says="kB")
def cover_too_large(bundle):
    noise = np.random.default_rng(0).integers(0, 255, (512, 1024, 3), np.uint8)
    Image.fromarray(noise).save(bundle.file("cover.png"))


@case("R12", core=OPENS, says="no picture")
def cover_is_no_picture(bundle):
    bundle.write("cover.png", b"%PDF-1.7")


@case("D1", ilastik=FAILS, core=FAILS, says=".tif")
def cover_of_another_format(bundle):
    bundle.write("cover.tif", picture(512, 256, "tiff"))
    bundle.rdf["covers"] = ["cover.tif"]


# files


@case("F1", **EVERYWHERE)
def files_in_a_folder(bundle):
    bundle.root = "mean"


@case("F2", core=OPENS)
def no_documentation_file(bundle):
    bundle.file("README.md").unlink()


@case("F2", ilastik=FAILS, core=FAILS)
def no_cover_file(bundle):
    bundle.file("cover.png").unlink()


@case("F2", fiji=FAILS, ilastik=FAILS, core=FAILS)
def no_test_input(bundle):
    bundle.file("test_raw.npy").unlink()


@case("F2", base="old", fiji=FAILS, ilastik=FAILS, core=FAILS)
def old_no_test_input(bundle):
    bundle.file("test_raw.npy").unlink()


@case("F2", ilastik=FAILS, core=FAILS)
def no_keras_file(bundle):
    bundle.file("weights.keras").unlink()


@case("F2", fiji=OPENS, ilastik=FAILS, qupath=OPENS, core=FAILS)
def no_saved_model_file(bundle):
    bundle.file("saved_model.zip").unlink()


@case("F2", fiji=OPENS, ilastik=FAILS, qupath=FAILS, core=FAILS)
def no_torchscript_file(bundle):
    bundle.file("weights.pt").unlink()


@case("F2", fiji=FAILS, ilastik=FAILS, core=FAILS)
def file_outside_of_the_bundle(bundle):
    bundle.rdf["inputs"][0]["test_tensor"]["source"] = "../test_raw.npy"


@case("F2", fiji=OPENS, ilastik=FAILS, qupath=OPENS, core=FAILS)
def file_of_an_absolute_path(bundle):
    bundle.rdf["weights"]["onnx"]["source"] = str(bundle.file("weights.onnx"))


@case("F3", fiji=OPENS, ilastik=FAILS, qupath=FAILS, core=FAILS)
def other_weights(bundle):
    bundle.rdf["weights"]["torchscript"]["sha256"] = "0" * 64


@case("F3", fiji=FAILS, ilastik=FAILS, core=FAILS)
def other_test_input(bundle):
    bundle.rdf["inputs"][0]["test_tensor"]["sha256"] = "0" * 64


@case("F4", core=OPENS)
def file_name_with_blanks(bundle):
    bundle.file("README.md").rename(bundle.file("read me.md"))
    bundle.rdf["documentation"] = "read me.md"


@case("F4", core=OPENS)
def file_name_with_accents(bundle):
    bundle.file("cover.png").rename(bundle.file("Übersicht.png"))
    bundle.rdf["covers"] = ["Übersicht.png"]


@case("F4", core=OPENS)
def file_names_of_one_spelling(bundle):
    bundle.file("test_probability.npy").rename(bundle.file("Test_raw.npy"))
    bundle.rdf["outputs"][0]["test_tensor"]["source"] = "Test_raw.npy"


@case("F5", fiji=OPENS)
def weights_at_an_address(bundle):
    bundle.file("weights.onnx").unlink()
    bundle.rdf["weights"]["onnx"] |= {"source": "https://example.org/weights.onnx", "sha256": "0" * 64}


# weights


@case("N1", fiji=FAILS, ilastik=FAILS, qupath=FAILS)
def keras_only(bundle):
    bundle.only("keras_v3")


@case("N1", ilastik=FAILS)
def no_torchscript(bundle):
    bundle.only("keras_v3", SAVED_MODEL, "onnx")


@case("N1", qupath=FAILS, fiji=FAILS, ilastik=FAILS, core=DEGRADED, also=("N3",), says="monai")
def state_dict_only(bundle):
    bundle.only("keras_v3")
    bundle.write("weights.pth", b"")
    bundle.rdf["weights"] = {
        "pytorch_state_dict": {
            "source": "weights.pth",
            "sha256": None,
            "pytorch_version": "2.13.0",
            "architecture": {"import_from": "monai.networks.nets", "callable": "UNet"},
        }
    }


@case("N1", **EVERYWHERE)
def tensorflow_js_only(bundle):
    bundle.only(SAVED_MODEL)
    bundle.rdf["weights"] = {"tensorflow_js": bundle.rdf["weights"][SAVED_MODEL]}


@case("N1", **EVERYWHERE)
def no_weights(bundle):
    bundle.rdf["weights"] = {}


@case("N2", fiji=OPENS, base="saved model, ONNX and state dict")
def saved_model_only(bundle):
    bundle.only(SAVED_MODEL, "pytorch_state_dict")


@case("W1", fiji=FAILS, qupath=OPENS, core=OPENS)
def saved_model_is_no_zip(bundle):
    bundle.write("saved_model.zip", Network().as_saved_model())


@case("W1", fiji=FAILS, qupath=OPENS, core=OPENS, says="zip in the zip")
def saved_model_in_a_nested_zip(bundle):
    inner = zipped({"saved_model.pb": Network().as_saved_model(), "variables/": b""})
    bundle.saved_model({"saved_model.zip": inner})


@case("W1", fiji=FAILS, qupath=OPENS, core=OPENS, says="mean/saved_model.pb")
def saved_model_in_a_folder(bundle):
    bundle.saved_model({"mean/saved_model.pb": Network().as_saved_model(), "mean/variables/": b""})


@case("W1", fiji=FAILS, qupath=OPENS, core=OPENS, says="no saved_model.pb")
def saved_model_without_graph(bundle):
    bundle.saved_model({"variables/": b""})


@case("W1", fiji=FAILS, says="variables/")
def saved_model_without_variables(bundle):
    bundle.saved_model({"saved_model.pb": Network().as_saved_model()})


@case("W1", fiji=FAILS, qupath=OPENS, core=OPENS, says="cannot be read")
def saved_model_cut_off(bundle):
    bundle.saved_model({"saved_model.pb": Network().as_saved_model()[:500], "variables/": b""})


@case("W1", fiji=FAILS, qupath=FAILS, core=OPENS, base="saved model, ONNX and state dict")
def saved_model_in_a_folder_for_qupath(bundle):
    bundle.saved_model({"mean/saved_model.pb": Network().as_saved_model(), "mean/variables/": b""})


@case("W1", fiji=FAILS, says="tag serve")
def saved_model_for_training(bundle):
    bundle.saved_model({"saved_model.pb": Network(tag="train").as_saved_model(), "variables/": b""})


@case("W1", fiji=FAILS, says="serving_default")
def saved_model_with_another_signature(bundle):
    bundle.saved_model({"saved_model.pb": Network(signature="predict").as_saved_model(), "variables/": b""})


@case("W1", fiji=OPENS, says="input_1")
def saved_model_with_other_names(bundle):
    network = Network(inputs={"input_1": ANY}, outputs={"conv2d": ANY})
    bundle.saved_model({"saved_model.pb": network.as_saved_model(), "variables/": b""})


@case("W2", fiji=DEGRADED)
def saved_model_with_variables(bundle):
    bundle.saved_model({"saved_model.pb": Network(frozen=False).as_saved_model(), "variables/variables.index": b""})


@case("W2", core=FAILS)
def saved_model_of_keras_export(bundle):
    bundle.rdf["outputs"][0]["id"] = "output_0"
    bundle.network(outputs={"output_0": ANY})
    network = Network(outputs={"output_0": ANY}, exported=True)
    bundle.saved_model({"saved_model.pb": network.as_saved_model(), "variables/": b""})


@case("W3", fiji=OPENS, qupath=OPENS, core=OPENS)
def onnx_is_none(bundle):
    bundle.write("weights.onnx", b"\x80\x04N.")


@case("W3", fiji=FAILS, qupath=OPENS, core=FAILS, base="ONNX first")
def onnx_is_none_and_fiji_takes_it(bundle):
    bundle.write("weights.onnx", Network().as_onnx()[:300])


@case("W3", fiji=FAILS, qupath=FAILS, core=FAILS, base="ONNX and state dict")
def onnx_is_none_and_qupath_takes_it(bundle):
    bundle.write("weights.onnx", b"")


@case("W3", fiji=FAILS, base="ONNX first", says="opset 18")
def onnx_of_a_new_opset(bundle):
    bundle.network(opset=18)


@case("W3", fiji=OPENS, says="opset 18")
def onnx_of_a_new_opset_beside_a_saved_model(bundle):
    bundle.write("weights.onnx", Network(opset=18).as_onnx())


@case("W3", fiji=FAILS, base="ONNX first", says="IR version 9")
def onnx_of_a_new_ir(bundle):
    bundle.network(ir_version=9)


@case("W3", fiji=FAILS, base="ONNX first", says="org.example")
def onnx_with_operators_of_others(bundle):
    bundle.network(domain="org.example")


@case("W3", fiji=OPENS, base="ONNX first", says="input.1")
def onnx_with_other_names(bundle):
    bundle.network(inputs={"input.1": ANY}, outputs={"82": ANY})


@case("W3", fiji=FAILS, base="ONNX first", says="kernel.bin")
def onnx_with_weights_outside(bundle):
    bundle.network(external=True)
    bundle.write("kernel.bin", b"\0" * 72)


@case("W4", fiji=OPENS, ilastik=FAILS, qupath=FAILS, core=OPENS)
def torchscript_is_a_pickle(bundle):
    bundle.write("weights.pt", b"\x80\x02}q\x00.")


@case("W4", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=FAILS, base="TorchScript only")
def torchscript_is_a_state_dict(bundle):
    bundle.write("weights.pt", zipped({"archive/data.pkl": b"", "archive/data/0": b"", "archive/version": b"3"}))


@case("W5", core=OPENS, says="keras_v3, onnx")
def two_originals(bundle):
    del bundle.rdf["weights"]["onnx"]["parent"]


@case("D1", ilastik=FAILS, core=FAILS)
def parent_that_is_not_there(bundle):
    bundle.rdf["weights"]["onnx"]["parent"] = "keras_hdf5"


@case("W5", core=OPENS, says="none")
def no_original(bundle):
    bundle.rdf["weights"]["keras_v3"]["parent"] = "onnx"


@case("W6", core=OPENS, base="no saved model")
def bilinear_upsampling(bundle):
    layer = {"class_name": "UpSampling2D", "config": {"name": "up", "interpolation": "bilinear"}}
    config = {"class_name": "Functional", "config": {"name": "mean", "layers": [layer]}}
    bundle.write("weights.keras", zipped({"config.json": json.dumps(config).encode()}))


@case("W7", core=FAILS, pydantic="2.14.1")
def pydantic_too_new(bundle):
    pass


# tensors


@case("R5", fiji=FAILS, qupath=FAILS)
def time_axis(bundle):
    for place, shape in (("inputs", "test_raw.npy"), ("outputs", "test_probability.npy")):
        bundle.rdf[place][0]["axes"].insert(1, {"type": "time", "id": "time", "unit": "second", "size": 1})
        bundle.array(shape, np.load(bundle.file(shape))[:, None])
    five = (None, None, None, None, 2)
    bundle.network(inputs={"raw": five}, outputs={"probability": five})


@case("R5", base="old", fiji=FAILS)
def old_time_axis(bundle):
    bundle.rdf["inputs"][0] |= {"axes": "btyxc", "shape": {"min": [1, 1, 32, 32, 2], "step": [0, 0, 16, 16, 0]}}
    bundle.rdf["outputs"][0] |= {
        "axes": "btyxc",
        "halo": [0, 0, 1, 1, 0],
        "shape": {"reference_tensor": "raw", "scale": [1, 1, 1, 1, 1], "offset": [0, 0, 0, 0, 0]},
    }
    for name in ("test_raw.npy", "test_probability.npy"):
        bundle.array(name, np.load(bundle.file(name))[:, None])
    five = (None, None, None, None, 2)
    bundle.network(inputs={"raw": five}, outputs={"probability": five})


@case("R5", fiji=FAILS, qupath=FAILS)
def axis_without_an_id(bundle):
    for tensor in ("inputs", "outputs"):
        axis = next(axis for axis in bundle.rdf[tensor][0]["axes"] if axis["id"] == "x")
        del axis["id"]


@case("R5", fiji=FAILS, ilastik=FAILS)
def axes_of_other_names(bundle):
    for place in ("inputs", "outputs"):
        bundle.axis(place, "channel")["id"] = "colour"
    bundle.preprocess("zero_mean_unit_variance", axes=["colour", "y", "x"])


@case("R5", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=FAILS)
def channels_without_names(bundle):
    axis = bundle.axis("inputs", "channel")
    del axis["channel_names"]
    axis["size"] = 2


@case("R6", fiji=FAILS, says="is not 40 + n x 24")
def smallest_size_between_steps(bundle):
    for name in "yx":
        bundle.axis("inputs", name)["size"] = {"min": 40, "step": 24}


@case("R6", fiji=DEGRADED, ilastik=FAILS, core=FAILS, says="nothing is left")
def halo_that_eats_the_tile(bundle):
    for name in "yx":
        bundle.axis("outputs", name)["halo"] = 24
        bundle.axis("inputs", name)["size"] = {"min": 16, "step": 16}


@case("R6", ilastik=FAILS, core=FAILS, says="Nothing is left")
def halo_of_half_the_smallest_output(bundle):
    for name in "yx":
        bundle.axis("outputs", name)["halo"] = 16


@case("R6", base="old", fiji=DEGRADED, ilastik=FAILS, core=FAILS, says="nothing is left")
def old_halo_that_eats_the_tile(bundle):
    bundle.rdf["inputs"][0]["shape"]["min"] = [1, 16, 16, 2]
    bundle.rdf["outputs"][0]["halo"] = [0, 24, 24, 0]


@case("R7", fiji=DEGRADED, says="halo")
def no_halo(bundle):
    for name in "yx":
        del bundle.axis("outputs", name)["halo"]


@case("R7", fiji=OPENS, says="a radius of 3 pixels")
def halo_smaller_than_the_surroundings(bundle):
    bundle.network(window=7)


@case("R7", fiji=DEGRADED, base="no ONNX", says="windows of 3 pixels")
def no_halo_for_the_keras_network(bundle):
    for name in "yx":
        del bundle.axis("outputs", name)["halo"]


@case("R7", fiji=DEGRADED, says="always 64")
def output_of_a_fixed_size(bundle):
    for name in "yx":
        axis = bundle.axis("outputs", name)
        axis["size"] = 64
        del axis["halo"]


@case("R7", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=FAILS, says="not there")
def output_of_a_size_that_is_not_there(bundle):
    bundle.axis("outputs", "y")["size"]["tensor_id"] = "image"


@case("R8", fiji=DEGRADED)
def sample_of_other_values(bundle):
    bundle.array("sample_raw.npy", np.load(bundle.file("test_raw.npy")) + 1)
    bundle.rdf["inputs"][0]["sample_tensor"] = {"source": "sample_raw.npy", "sha256": None}


@case("R8", base="old", fiji=DEGRADED)
def old_sample_of_other_values(bundle):
    bundle.array("sample_raw.npy", np.load(bundle.file("test_raw.npy")) + 1)
    bundle.rdf["sample_inputs"] = ["sample_raw.npy"]


@case("R8", fiji=DEGRADED)
def sample_picture_of_other_values(bundle):
    bundle.write("sample.png", picture(64, 128))
    bundle.rdf["inputs"][0]["sample_tensor"] = {"source": "sample.png", "sha256": None}


@case("R8", fiji=DEGRADED)
def sample_of_another_size(bundle):
    bundle.array("sample_raw.npy", np.load(bundle.file("test_raw.npy"))[:, :32])
    bundle.rdf["inputs"][0]["sample_tensor"] = {"source": "sample_raw.npy", "sha256": None}


@case("T1", fiji=DEGRADED, ilastik=FAILS, qupath=FAILS, core=DEGRADED, also=("R7",), says="another number of tiles")
def two_inputs(bundle):
    _second_input(bundle)


@case("T1", base="no Keras", fiji=DEGRADED, ilastik=FAILS, qupath=FAILS, also=("R7",))
def two_inputs_without_keras(bundle):
    _second_input(bundle)


def _second_input(bundle):
    second = json.loads(json.dumps(bundle.rdf["inputs"][0])) | {"id": "background"}
    bundle.rdf["inputs"].append(second)
    bundle.network(inputs={"raw": ANY, "background": ANY})


@case("T1", ilastik=FAILS, qupath=FAILS)
def two_outputs(bundle):
    bundle.rdf["outputs"].append(json.loads(json.dumps(bundle.rdf["outputs"][0])) | {"id": "border"})
    bundle.network(outputs={"probability": ANY, "border": ANY})


@case("T2", ilastik=FAILS, qupath=FAILS)
def output_without_channel_axis(bundle):
    del bundle.rdf["outputs"][0]["axes"][-1]
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[..., 0])
    bundle.network(outputs={"probability": (None, None, None)})


@case("T2", fiji=FAILS, ilastik=FAILS)
def input_without_channel_axis(bundle):
    del bundle.rdf["inputs"][0]["axes"][-1]
    bundle.rdf["inputs"][0]["preprocessing"][0]["kwargs"]["axes"] = ["y", "x"]
    bundle.array("test_raw.npy", np.load(bundle.file("test_raw.npy"))[..., 0])
    bundle.network(inputs={"raw": (None, None, None)})


@case("T3", fiji=FAILS, also=("T11",))
def network_of_double_precision(bundle):
    bundle.network(onnx_type=TensorProto.DOUBLE, tensorflow_type=2)


@case("T3", fiji=FAILS, base="ONNX first", says="uint8", also=("T11",))
def onnx_of_bytes(bundle):
    bundle.network(onnx_type=TensorProto.UINT8)


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="declared as float32")
def test_input_of_another_dtype(bundle):
    bundle.array("test_raw.npy", np.load(bundle.file("test_raw.npy")).astype(np.uint16))


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="3 axes")
def test_input_without_batch(bundle):
    bundle.array("test_raw.npy", np.load(bundle.file("test_raw.npy"))[0])


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="60 along y")
def test_input_between_steps(bundle):
    bundle.array("test_raw.npy", np.load(bundle.file("test_raw.npy"))[:, :60])


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="48 along y")
def test_output_of_another_size(bundle):
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[:, :48])


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="NaN")
def test_output_of_nan(bundle):
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy")) * np.float32("nan"))


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="cannot be read")
def test_input_is_a_pickle(bundle):
    np.save(bundle.file("test_raw.npy"), np.array([{}]), allow_pickle=True)


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="cannot be read")
def test_input_is_a_picture(bundle):
    bundle.write("test_raw.npy", picture(64, 64))


@case("T4", fiji=FAILS, ilastik=FAILS, core=FAILS, says="no test tensor")
def no_test_output(bundle):
    del bundle.rdf["outputs"][0]["test_tensor"]


@case("T4", base="old", fiji=FAILS, ilastik=FAILS, core=FAILS)
def old_test_input_of_another_size(bundle):
    bundle.array("test_raw.npy", np.load(bundle.file("test_raw.npy"))[:, :60])


@case("T5", fiji=DEGRADED, ilastik=FAILS, qupath=FAILS, says="1 x 1 pixels")
def output_is_no_image(bundle):
    bundle.rdf["outputs"][0]["axes"][1:3] = []
    bundle.array("test_probability.npy", np.zeros((1, 2), np.float32))
    bundle.network(outputs={"probability": (None, 2)})


@case("T5", fiji=DEGRADED, qupath=FAILS, also=("R6",), says="Images of 894 to 2,048")
def volumes(bundle):
    for place, name in (("inputs", "test_raw.npy"), ("outputs", "test_probability.npy")):
        size = {"min": 32, "step": 16} if place == "inputs" else {"tensor_id": "raw", "axis_id": "z"}
        axis = json.loads(json.dumps(bundle.axis(place, "y"))) | {"id": "z", "size": size}
        bundle.rdf[place][0]["axes"].insert(1, axis)
        bundle.array(name, np.repeat(np.load(bundle.file(name))[:, None], 32, 1))
    bundle.rdf["inputs"][0]["preprocessing"][0]["kwargs"]["axes"].append("z")
    five = (None, None, None, None, 2)
    bundle.network(inputs={"raw": five}, outputs={"probability": five})


@case("T6", fiji=FAILS, says="takes 64 along y")
def network_of_one_size(bundle):
    shape = (None, 64, 64, 2)
    bundle.network(inputs={"raw": shape}, outputs={"probability": shape})


@case("T6", fiji=FAILS, says="takes 2 along x")
def axes_in_another_order(bundle):
    for place, name in (("inputs", "test_raw.npy"), ("outputs", "test_probability.npy")):
        axes = bundle.rdf[place][0]["axes"]
        axes.insert(1, axes.pop())
        bundle.array(name, np.moveaxis(np.load(bundle.file(name)), -1, 1))


@case("T6", fiji=FAILS, says="3 along channel")
def network_of_more_channels(bundle):
    bundle.network(inputs={"raw": (None, None, None, 3)})


@case("T6", fiji=FAILS, says="gives 1 along channel")
def network_of_fewer_output_channels(bundle):
    bundle.network(outputs={"probability": (None, None, None, 1)})


@case("T6", fiji=FAILS, says="5 axes")
def network_of_more_axes(bundle):
    bundle.network(inputs={"raw": (None, None, None, None, 2)}, outputs={"probability": ANY})


@case("T7", also=("T1", "W8"), fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=FAILS)
def outputs_of_one_id(bundle):
    bundle.rdf["outputs"].append(json.loads(json.dumps(bundle.rdf["outputs"][0])))


@case("R14", ilastik=FAILS)
def channel_of_two_words(bundle):
    bundle.axis("inputs", "channel")["channel_names"] = ["cell nuclei", "membranes"]


@case("T7", also=("D1",), fiji=FAILS, ilastik=FAILS, core=FAILS)
def tensors_of_one_id(bundle):
    bundle.rdf["outputs"][0]["id"] = "raw"
    bundle.network(outputs={"raw": ANY})


@case("T8", fiji=FAILS, ilastik=FAILS, qupath=FAILS, also=("T5",))
def list_of_objects(bundle):
    bundle.rdf["outputs"][0]["axes"][1:3] = [{"type": "index", "id": "index", "size": {"min": 1, "max": None}}]
    bundle.array("test_probability.npy", np.zeros((1, 7, 2), np.float32))
    bundle.network(outputs={"probability": (None, None, 2)})


def _halved(bundle, of_input, of_output):
    """Every second pixel of the output, and the scales of both."""
    for name in "yx":
        bundle.axis("inputs", name)["scale"] = of_input
        bundle.axis("outputs", name)["scale"] = of_output
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[:, ::2, ::2])


@case("T9", fiji=FAILS, ilastik=FAILS)
def output_of_half_the_size(bundle):
    _halved(bundle, 0.5, 1.0)


@case("T9", fiji=DEGRADED, ilastik=FAILS, says="one pixel for 2", also=("R7",))
def output_of_half_the_size_as_fiji_reads_it(bundle):
    _halved(bundle, 0.25, 0.5)


@case("T9", fiji=FAILS, says="has 32 pixels for 32 of the input; by its scale of 0.65", also=("R7",))
def pixel_size_as_scale(bundle):
    for place in ("inputs", "outputs"):
        for name in "yx":
            # of 24 bits: sizes stay whole when they are multiplied and divided by it
            bundle.axis(place, name).update(scale=float(np.float32(0.65)), unit="micrometer")


@case("T9", fiji=FAILS, says="offset of -2", also=("R7",))
def output_without_its_rim(bundle):
    for name in "yx":
        bundle.axis("outputs", name)["size"]["offset"] = -2
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[:, 1:-1, 1:-1])


@case("T9", base="old", fiji=DEGRADED, ilastik=FAILS, also=("R7",))
def old_output_of_half_the_size(bundle):
    bundle.rdf["outputs"][0]["shape"]["scale"] = [1, 0.5, 0.5, 1]
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[:, ::2, ::2])


# processing


@case("P1", fiji=FAILS, says="off by")
def standardised_by_plane(bundle):
    bundle.preprocess("zero_mean_unit_variance", axes=["y", "x"])


@case("P1", fiji=FAILS, base="old", says="off by")
def old_standardised_by_plane(bundle):
    bundle.rdf["inputs"][0]["preprocessing"][0]["kwargs"]["axes"] = "yx"


@case("P2", fiji=FAILS)
def standardised_over_the_batch(bundle):
    bundle.preprocess("zero_mean_unit_variance", axes=["batch", "y", "x"])


@case("P3", fiji=DEGRADED, says="off by")
def percentiles(bundle):
    bundle.preprocess("scale_range", axes=["channel", "y", "x"], min_percentile=1.0, max_percentile=99.8)


@case("P3", fiji=FAILS, qupath=FAILS, says="raw")
def percentiles_of_another_tensor(bundle):
    kwargs = {"axes": ["channel", "y", "x"], "reference_tensor": "raw"}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "scale_range", "kwargs": kwargs}]


@case("P4", fiji=FAILS, says="off by")
def gains_by_channel(bundle):
    bundle.preprocess("scale_linear", axis="channel", gain=[0.1, 0.2], offset=[0.0, 1.0])


@case("P5", fiji=FAILS, qupath=FAILS, says="as many numbers as there are pixels")
def means_by_channel(bundle):
    bundle.preprocess("fixed_zero_mean_unit_variance", axis="channel", mean=[1.0, 2.0], std=[3.0, 4.0])


@case("P5", qupath=FAILS, says="off by")
def fixed_mean(bundle):
    bundle.preprocess("fixed_zero_mean_unit_variance", mean=40.0, std=28.0)


@case("P6", fiji=FAILS, qupath=FAILS)
def thresholds_by_channel(bundle):
    bundle.preprocess("binarize", axis="channel", threshold=[1.0, 2.0])


@case("P7", fiji=FAILS, says="needs max")
def clip_without_max(bundle):
    bundle.preprocess("clip", min=0.0)


@case("P7", fiji=FAILS, qupath=FAILS, says="percentile")
def clip_at_percentiles(bundle):
    bundle.preprocess("clip", min_percentile=1.0, max_percentile=99.0, axes=["channel", "y", "x"])


@case("T10", fiji=DEGRADED, ilastik=DEGRADED, qupath=FAILS)
def labels_of_a_graph(bundle):
    bundle.rdf["outputs"][0]["axes"][-1]["channel_names"] = ["labels"]
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[..., :1])
    bundle.network(outputs={"probability": (None, None, None, 1)})


@case("P8", fiji=DEGRADED, qupath=DEGRADED, says="off by")
def cast_to_bytes(bundle):
    bundle.preprocess("ensure_dtype", dtype="uint8")


@case("P9", fiji=FAILS, qupath=FAILS)
def softmax_of_the_output(bundle):
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "softmax", "kwargs": {"axis": "channel"}}]


@case("P9", fiji=FAILS, qupath=FAILS)
def mean_of_another_tensor(bundle):
    kwargs = {"axes": ["channel", "y", "x"], "reference_tensor": "raw"}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "scale_mean_variance", "kwargs": kwargs}]


@case("P10", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=OPENS)
def stardist_postprocessing(bundle):
    kwargs = {"prob_threshold": 0.5, "nms_threshold": 0.4, "n_rays": 1, "b": 0, "grid": [1, 1]}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "stardist_postprocessing", "kwargs": kwargs}]


@case("P10", fiji=FAILS, ilastik=FAILS, qupath=FAILS)
def custom_postprocessing(bundle):
    bundle.write("own.py", b"class Own: ...")
    own = {"id": "custom", "source": "own.py", "sha256": None, "callable": "Own", "kwargs": {}}
    bundle.rdf["outputs"][0]["postprocessing"] = [own]


@case("P10", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=OPENS)
def cellpose_postprocessing(bundle):
    kwargs = {"cellprob_threshold": 0.0, "flow_threshold": 0.4, "do_3D": False}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "cellpose_flow_dynamics", "kwargs": kwargs}]


def pretend(version: str) -> Callable[[str], str]:
    """`importlib.metadata.version`, where another pydantic is installed."""
    real = metadata.version
    return lambda name: version if name == "pydantic" else real(name)


# types that programs cast to


@case("D3", fiji=FAILS, ilastik=FAILS, core=FAILS, also=("D1",), says="no text")
def citation_of_a_number(bundle):
    bundle.rdf["cite"] = [{"text": 1843, "url": "https://example.org/notes"}]


@case("D3", fiji=FAILS, says="neither true nor false")
def tiling_in_words(bundle):
    bundle.rdf["config"]["deepimagej"] = {"allow_tiling": "yes"}


@case("D3", qupath=FAILS, ilastik=FAILS, core=FAILS, also=("D1",), says="no mapping")
def parent_as_a_text(bundle):
    bundle.rdf["parent"] = "still-goose"


@case("D4", base="old", qupath=FAILS, says="test_outputs", ilastik=FAILS, core=FAILS, fiji=FAILS, also=("T4", "D1"))
def old_without_test_outputs(bundle):
    del bundle.rdf["test_outputs"]


@case("R13", ilastik=DEGRADED, core=DEGRADED, says="looked up")
def github_user_of_nobody(bundle):
    bundle.rdf["authors"][0]["github_user"] = "nobody-has-this-name"


@case("R6", fiji=FAILS, says="allow_tiling")
def tiling_not_allowed(bundle):
    bundle.rdf["config"]["deepimagej"] = {"pyramidal_model": False}


@case("R6", fiji=FAILS, says="tiles of 1 pixel")
def width_that_follows_the_height(bundle):
    for place in ("inputs", "outputs"):
        bundle.axis(place, "x")["size"] = {"tensor_id": "raw", "axis_id": "y"}


# weights that programs take in an order of their own, or cannot load


@case("N3", base="state dict", fiji=FAILS, ilastik=FAILS, core=DEGRADED, qupath=FAILS, also=("N1",), says="elsewhere")
def architecture_of_another_package(bundle):
    bundle.write("network.py", b"import math\nimport elsewhere\nimport torch\n")


@case("N3", base="state dict", ilastik=FAILS, core=DEGRADED, qupath=FAILS, also=("N1",), says="environment.yaml")
def architecture_with_an_environment(bundle):
    bundle.write("environment.yaml", b"dependencies: [elsewhere]")
    bundle.rdf["weights"]["pytorch_state_dict"]["dependencies"] = {"source": "environment.yaml", "sha256": None}


@case("W8", fiji=FAILS, ilastik=FAILS, qupath=FAILS, core=FAILS, also=("N1", "T1"))
def outputs_in_another_order_of_onnx_alone(bundle):
    bundle.only("onnx")
    outputs_in_another_order(bundle)


@case(
    "W8",
    base="ONNX first",
    fiji=FAILS,
    ilastik=FAILS,
    qupath=FAILS,
    core=OPENS,
    also=("T1",),
    says="gives border, probability",
)
def outputs_in_another_order(bundle):
    bundle.rdf["outputs"].append(json.loads(json.dumps(bundle.rdf["outputs"][0])) | {"id": "border"})
    bundle.network(outputs={"border": ANY, "probability": ANY})


@case(
    "W4",
    base="TorchScript before ONNX",
    fiji=FAILS,
    ilastik=FAILS,
    qupath=FAILS,
    core=OPENS,
    says="no TorchScript code",
)
def pickle_that_fiji_takes_before_onnx(bundle):
    bundle.write("weights.pt", zipped({"archive/data.pkl": b""}))


@case("T11", fiji=FAILS, base="TorchScript only", says="no images of the type bool")
def mask_of_bools(bundle):
    bundle.rdf["outputs"][0]["data"] = {"type": "bool", "values": [False, True]}
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy")) > 0)


@case("T11", fiji=FAILS, says="declared as uint8, and the network gives float32", qupath=DEGRADED, also=("P8",))
def output_cast_to_bytes(bundle):
    bundle.rdf["outputs"][0]["data"] = {"type": "uint8"}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "ensure_dtype", "kwargs": {"dtype": "uint8"}}]
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy")).astype(np.uint8))


@case("T11", qupath=FAILS, ilastik=FAILS, core=FAILS, also=("D1",), says="QuPath has no data type")
def input_of_half_precision(bundle):
    bundle.rdf["inputs"][0]["data"] = {"type": "float16"}


# arguments that programs read


@case("P11", qupath=FAILS, says="gain of scale_linear is a number")
def gain_as_a_number(bundle):
    bundle.preprocess("scale_linear", gain=0.01, offset=0.0)


@case("P11", qupath=FAILS, says="has no kwargs")
def operation_without_kwargs(bundle):
    bundle.rdf["inputs"][0]["preprocessing"] = [{"id": "zero_mean_unit_variance"}]


@case("P11", base="old", fiji=FAILS, qupath=FAILS, says="takes no numbers where it leaves out axes")
def old_fixed_mean(bundle):
    kwargs = {"mode": "fixed", "axes": "yxc", "mean": [3.0], "std": 2.0}
    bundle.rdf["inputs"][0]["preprocessing"] = [{"name": "zero_mean_unit_variance", "kwargs": kwargs | {"mean": 3.0}}]


@case("P11", base="old", ilastik=FAILS, core=FAILS, qupath=FAILS, says="has axes")
def old_gain_with_axes(bundle):
    kwargs = {"axes": "yxc", "gain": 0.5, "offset": 1.0}
    bundle.rdf["inputs"][0]["preprocessing"] = [{"name": "scale_linear", "kwargs": kwargs}]


@case("P3", qupath=FAILS, says="no max_percentile")
def range_without_its_end(bundle):
    bundle.preprocess("scale_range", axes=["channel", "y", "x"], min_percentile=0.0)
