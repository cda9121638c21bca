"""Fiji with deepImageJ 3.1, which runs models through JDLL (dl-modelrunner 0.6.1).

Read and run: dl-modelrunner 0.6.1 with deepimagej-plugin c84362b, and JDLL 98d3be2 (2026-07).
"""

from __future__ import annotations

from bmzpack.consumers.conditions import (
    bundle_files,
    jdll_model,
    metadata,
    processing,
    python_sources,
    tensor_axes,
    tensor_data,
    tensor_sizes,
    weights_files,
)
from bmzpack.consumers.consumer import Consumer, Release
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.jdll import sides, weights
from bmzpack.consumers.jdll.processing import ARGUMENTS
from bmzpack.consumers.rules import Rule, link_rule, shared_rule, torchscript_rule, version_rule
from bmzpack.engines import rows
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

LINK = "deepimagej/deepimagej"
FORMATS = (*weights.JAVA_FORMATS, weights.STATE_DICT)
PACKAGES = python_sources.TORCH | {
    *(
        "biapy",
        "bioimageio",
        "careamics",
        "cellpose",
        "cv2",
        "h5py",
        "imageio",
        "matplotlib",
        "pandas",
        "PIL",
        "pydantic",
    ),
    *("pytorch_lightning", "pytorch_msssim", "scipy", "skimage", "sklearn", "tifffile", "timm", "torchinfo"),
    *("torchmetrics", "torch_fidelity", "tqdm", "xarray", "yacs", "yaml", "zarr"),
}
"""What the environment of JDLL's Python engine has (DLModelPytorchProtected), with what these packages need."""
OPERATIONS = set(ARGUMENTS)
"""Those that JDLL computes, at least for some arguments."""

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity


RULES = [
    shared_rule("F1", "JDLL unpacks the zip into a folder of the model and looks for rdf.yaml there and nowhere else."),
    Rule(
        "R3",
        CANNOT_OPEN,
        "JDLL looks for no other name than rdf.yaml.",
        metadata.description_not_rdf_yaml,
        remedy="Rename it to rdf.yaml (`bmzpack repair` does).",
        on_files_alone=True,
    ),
    shared_rule(
        "D1",
        "JDLL casts entries to the type that the specification gives them, and ends with a ClassCastException or "
        "NullPointerException where they are of another.",
    ),
    version_rule("JDLL reads format versions that begin with 0.4 or 0.5.", "0.4", "0.5"),
    Rule(
        "R1",
        CANNOT_OPEN,
        "JDLL casts the documentation to a text and ends with a ClassCastException (observed in 98d3be2).",
        metadata.documentation_as_mapping,
        remedy="Write the file name alone, and format_version: 0.5.10 (`bmzpack repair` does).",
    ),
    Rule(
        "R2",
        CANNOT_OPEN,
        "JDLL takes config.bioimageio.nickname where there is no id, and ends with a NullPointerException where there "
        "is none either (ModelDescriptorV05.java:52, observed).",
        metadata.missing_nickname,
        remedy="Add config.bioimageio.nickname (`bmzpack repair` does).",
    ),
    Rule(
        "R4",
        DEGRADED,
        "JDLL chooses the engine by the version of the framework, and YAML reads 2.10 as the number 2.1.",
        weights_files.versions_without_three_numbers,
        remedy="Write versions as text with three numbers, such as '2.10.1'.",
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "JDLL joins the axis ids to a word: time becomes btimeyxc, which ends with an ArrayIndexOutOfBoundsException "
        "(observed); an index axis is no axis that it knows; a space axis without an id is an exception (from "
        "the source code, AxisV05).",
        lambda contents: (
            [
                *tensor_axes.axes_other_than({"batch", "channel", "z", "y", "x"})(contents),
                *tensor_axes.axes_without_id(contents),
                *tensor_axes.channels_without_names(contents),
            ]
            or jdll_model.refused_description("R5")(contents)
        ),
    ),
    Rule(
        "D3",
        CANNOT_OPEN,
        "JDLL casts entries to texts, numbers, lists and mappings, and ends with a ClassCastException where they are "
        "of another type.",
        jdll_model.entries_of_another_type,
    ),
    Rule(
        "R6",
        CANNOT_OPEN,
        "JDLL's tile is floor((size + 2 halo) / step) x step and has to be min + n x step, at most three times the "
        "image, and at most 50,331,648 values: for larger ones it never returns or ends with an exception "
        "(TileCalculator, TileMaker; observed).",
        jdll_model.refused_images("R6"),
        remedy="Choose a small min, a multiple of step; cut larger images into parts.",
    ),
    Rule(
        "R7",
        DEGRADED,
        "JDLL cuts images into tiles and takes off the halo of the output; without one the borders of the tiles show.",
        tensor_sizes.halo_smaller_than_receptive_field,
        remedy="Let the sizes refer to the input's axes, and set the halo to the radius of the receptive field.",
    ),
    Rule(
        "R7",
        CANNOT_OPEN,
        "JDLL computes the size of every result from one input; where it cannot, it ends with 'Model specs too complex "
        "for JDLL' or another exception (TileMaker.getOutputTiles, observed).",
        lambda contents: (
            [*tensor_sizes.references_to_missing_axes(contents)]
            or [*jdll_model.refused_description("R7")(contents), *jdll_model.refused_images("R7")(contents)]
        ),
        remedy="Let the sizes refer to y and x of one input.",
    ),
    Rule(
        "R8",
        DEGRADED,
        "deepImageJ's check runs the sample tensor, and compares the result with the test tensor.",
        tensor_data.sample_tensors_that_differ,
        remedy="Leave sample_tensor out.",
    ),
    link_rule(LINK),
    Rule(
        "R11",
        CANNOT_OPEN,
        "A model with 'stardist' in its name and a config.stardist goes to Python StarDist, which builds its own "
        "network and loads a .h5 file into it (RunnerAdapter, observed).",
        jdll_model.sent_to_stardist,
        remedy="Rename config.stardist, so that JDLL runs the model as any other (`bmzpack repair` does).",
    ),
    Rule(
        "R11",
        DEGRADED,
        "JDLL has postprocessing for StarDist only; its isCellpose is always false.",
        metadata.cellpose_configuration_ignored,
        remedy="Make labels from the flows in Python.",
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "JDLL runs saved models (TensorFlow to 2.10.1), ONNX (Runtime to 1.13.1) and TorchScript (PyTorch to 2.0.0), "
        "and a state dict alone in Python; no Keras files.",
        weights_files.no_weights_of(FORMATS),
    ),
    Rule(
        "N3",
        CANNOT_OPEN,
        "JDLL takes the architecture of a state dict from a mapping of source or import_module, and callable "
        "(PytorchWeights.setArchitecture); else it ends with a NullPointerException (from the source code).",
        jdll_model.architecture_as_text,
        remedy="Write the description in format 0.5, or add TorchScript.",
    ),
    Rule(
        "N3",
        CANNOT_OPEN,
        "JDLL imports the architecture in an environment of its own, with PyTorch, BiaPy, CAREamics and Cellpose "
        "(DLModelPytorchProtected, from the source code).",
        python_sources.lacking_packages(weights.order, PACKAGES, environment=False, severity=CANNOT_OPEN),
    ),
    Rule(
        "N2",
        ADVICE,
        "TensorFlow for Java has no build for Apple silicon.",
        weights_files.only_saved_model,
        remedy="Add ONNX or TorchScript weights.",
    ),
    shared_rule(
        "F2",
        "JDLL reads weights and test tensors from the unpacked folder.",
        condition=weights_files.by_priority(
            weights.order, bundle_files.only_weights_and_tensors(bundle_files.missing_files)
        ),
    ),
    shared_rule(
        "F3",
        "JDLL does not look at checksums: it runs whatever file is there.",
        severity=WRONG_RESULT,
        condition=weights_files.by_priority(
            weights.order, bundle_files.only_weights_and_tensors(bundle_files.wrong_checksums)
        ),
    ),
    Rule(
        "F5",
        ADVICE,
        "JDLL downloads what is at an address when it installs a model from the zoo, but not when a zip is opened.",
        weights_files.by_priority(weights.order, bundle_files.only_weights_and_tensors(bundle_files.remote_files)),
        remedy="Put the file into the bundle.",
    ),
    Rule(
        "W1",
        CANNOT_OPEN,
        "JDLL wants saved_model.pb and a variables/ entry at the top of the zip (observed), reads the tag serve and "
        "the signature serving_default only, and looks its tensors up by their ids, else in the order of the map.",
        weights_files.by_priority(
            weights.order,
            weights_files.misplaced_saved_model,
            weights_files.saved_model_without_variables_entry,
            weights_files.unfit_saved_model_signature,
        ),
    ),
    Rule(
        "W2",
        DEGRADED,
        "A graph with variables did not load in TensorFlow 2.7.4 (operation DisableCopyOnRead) or had lost its batch "
        "normalisation in 2.10.1 (observed); frozen ones ran from 1.15 on.",
        weights_files.by_priority(weights.order, weights_files.unfrozen_saved_model),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "ONNX Runtime 1.13.1, the newest in JDLL, refuses opsets above 17 and IR versions above 8 (observed).",
        weights_files.by_priority(
            weights.order,
            weights_files.unreadable_onnx,
            weights_files.onnx_too_new,
            weights_files.onnx_tensor_names_differ,
            weights_files.external_onnx_weights,
        ),
        remedy="Write it with opset 15 to 17 and IR version 8, its tensors named by their ids (`bmzpack repair` "
        "tries).",
    ),
    Rule(
        "W8",
        WRONG_RESULT,
        "JDLL's engine for ONNX fills the results by their position, whatever they are called (observed).",
        weights_files.by_priority(weights.order, weights_files.onnx_outputs_in_other_order),
        remedy="Describe the outputs in the order of the graph.",
    ),
    torchscript_rule("PyTorch's engine loads archives of torch.jit only.", weights.order),
    Rule(
        "T1",
        DEGRADED,
        "JDLL runs several inputs, but deepImageJ's macros and its check take one image.",
        tensor_axes.several_inputs,
        remedy="Bring the inputs together in one image of several channels.",
    ),
    Rule(
        "T2",
        CANNOT_OPEN,
        "JDLL compares the channels of image and tile, and ends with an ArrayIndexOutOfBoundsException where the input "
        "has no channel axis (TileMaker:288, observed).",
        jdll_model.refused_images("T2"),
    ),
    Rule(
        "T3",
        CANNOT_OPEN,
        "JDLL casts every input to float32.",
        weights_files.by_priority(weights.order, weights_files.graph_inputs_not_float32),
        remedy="Begin the network with a cast, so that its input is float32.",
    ),
    shared_rule("T4", "deepImageJ's check reads them; a model that fails it is not offered."),
    Rule(
        "T5",
        CANNOT_OPEN,
        "Images in Fiji have the axes y and x.",
        tensor_axes.inputs_without_y_and_x,
    ),
    Rule(
        "T5",
        DEGRADED,
        "Fiji shows every result as an image.",
        jdll_model.several_tiles_of_vectors,
        remedy="Use images of one tile, and read the channels of the result.",
    ),
    Rule(
        "T6",
        CANNOT_OPEN,
        "JDLL chooses tiles by the description; the engine refuses what the network does not take.",
        weights_files.by_priority(weights.order, weights_files.graph_shapes_differ),
        remedy="Declare the sizes that the network takes.",
    ),
    shared_rule("T7", "JDLL keeps tensors by their ids.", condition=tensor_axes.duplicate_tensor_ids),
    Rule(
        "T10",
        DEGRADED,
        "JDLL cuts an image into tiles unless its sides are multiples of the step, and every tile gets its own labels.",
        tensor_axes.label_images_in_tiles,
        remedy="Let the graph take any size, with a step of 1 (`kerazoo export --form labels` does); or crop or pad "
        "images before they are put through.",
    ),
    Rule(
        "T11",
        CANNOT_OPEN,
        "JDLL makes the result of the declared data type before the network runs, and cannot put data of another type "
        "into it (CommonUtils, Tensor.setData; observed).",
        lambda contents: [
            *jdll_model.refused_images("T11")(contents),
            *jdll_model.outputs_of_another_dtype(contents),
        ],
        remedy="Declare the outputs as the network gives them, in float32.",
    ),
    shared_rule("T8", "JDLL takes the output for an image whose size follows the input's."),
    Rule(
        "T9",
        WRONG_RESULT,
        "JDLL multiplies the size of the input by the scale of the output, whatever that of the input is, and adds the "
        "offset twice to tiles and not to the image: it expects another size than the network gives (AxisV05.getScale, "
        "TileMaker.getOutputTiles, from the source code).",
        tensor_sizes.sizes_misread_by_jdll,
        remedy=(
            "Write the factor between both sizes as the scale of the output, and its square as that of the input "
            "(`bmzpack repair` does, where all outputs have one factor)."
        ),
    ),
    Rule(
        "P1",
        WRONG_RESULT,
        "JDLL normalises the whole tensor once more for every plane (observed with three channels).",
        jdll_model.otherwise_computed("zero_mean_unit_variance", "scale_range"),
        remedy="Let it run over channel, z, y and x, or put the normalisation per channel into the network.",
    ),
    Rule(
        "P2",
        WRONG_RESULT,
        "JDLL takes the letters of 'batch' for axes, among them c (observed).",
        jdll_model.otherwise_computed("zero_mean_unit_variance", "scale_range", over_batch=True),
        remedy="Leave batch out of the axes.",
    ),
    Rule(
        "P3",
        DEGRADED,
        "JDLL's percentiles are not interpolated, about 0.3 % off, and its reference_tensor is ignored (observed).",
        jdll_model.rough_percentiles,
        remedy="Use zero_mean_unit_variance or scale_linear, or live with the difference.",
    ),
    Rule(
        "P4",
        WRONG_RESULT,
        "JDLL uses the first gain for all channels (observed).",
        jdll_model.otherwise_computed("scale_linear"),
        remedy="Put the scaling per channel into the network (`bmzpack pack` does).",
    ),
    Rule(
        "P5",
        CANNOT_OPEN,
        "JDLL counts pixels in place of channels, and ends with an exception on lists (observed).",
        jdll_model.refused_operations("fixed_zero_mean_unit_variance"),
        remedy="Put the normalisation per channel into the network (`bmzpack pack` does).",
    ),
    Rule(
        "P6",
        CANNOT_OPEN,
        "JDLL takes one number, and ends with an exception on lists (observed).",
        jdll_model.refused_operations("binarize"),
        remedy="Use one threshold, or put the thresholds into the network.",
    ),
    Rule(
        "P7",
        CANNOT_OPEN,
        "JDLL needs both ends, and throws on percentiles (observed).",
        jdll_model.refused_operations("clip"),
        remedy="Give min and max as numbers.",
    ),
    shared_rule("P8", "JDLL skips ensure_dtype; its tensors are float32 (observed)."),
    Rule(
        "P9",
        CANNOT_OPEN,
        "JDLL answers 'Invalid method', and the model does not run (observed).",
        jdll_model.refused_operations("softmax", "scale_mean_variance"),
    ),
    Rule(
        "P10",
        CANNOT_OPEN,
        "JDLL finds an operation by a class of its name: there is none for custom, stardist_postprocessing, "
        "cellpose_flow_dynamics and names of others (observed).",
        lambda contents: jdll_model.refused_operations(but={*OPERATIONS, "softmax", "scale_mean_variance"})(contents),
        remedy="Leave the operation out: Fiji has plugins for StarDist.",
    ),
    Rule(
        "P11",
        CANNOT_OPEN,
        "JDLL hands every argument to a setter of its name, and a fixed mean and deviation have to be numbers over all "
        "axes, or lists (TransformationInstance, ZeroMeanUnitVarianceTransformation; observed).",
        jdll_model.refused_operations("scale_linear", "scale_range", "sigmoid", "zero_mean_unit_variance"),
        remedy="Use the arguments of the specification.",
    ),
]

FIJI = Consumer(
    key="fiji",
    name="Fiji (deepImageJ)",
    short_name="Fiji",
    versions={"deepImageJ": "3.1 (c84362b)", "JDLL": "0.6.1"},
    order=weights.order,
    engines={
        SAVED_MODEL: (rows.OLD_TENSORFLOW, rows.TENSORFLOW),
        "onnx": (rows.OLD_ONNX, rows.ONNX),
        "torchscript": (rows.TORCH,),
        weights.STATE_DICT: (rows.CORE,),
    },
    sides=sides.sides,
    releases=[
        Release(
            "JDLL 98d3be2",
            {"JDLL": "98d3be2 (2026-07, in no release of deepImageJ)"},
            [
                Rule(
                    "P12",
                    WRONG_RESULT,
                    "JDLL 98d3be2 preprocesses in place, in the image's own data type: a normalised uint16 image "
                    "becomes garbage (observed). Its tiles are those of 0.6.1.",
                    processing.of_inputs,
                )
            ],
        )
    ],
    rules=RULES,
    link=LINK,
    tags=("fiji", "imagej", "deepimagej"),
    opening="""\
In Fiji with the update site DeepImageJ: unpack this zip into a folder of its own within Fiji's folder `models` (or let
*Plugins > DeepImageJ > DeepImageJ Install Model* do it); then open an image, start *Plugins > DeepImageJ > DeepImageJ
Run*, and choose `{name}`.""",
)
