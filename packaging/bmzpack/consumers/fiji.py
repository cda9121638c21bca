"""Fiji with deepImageJ, and Icy: both run models through JDLL.

Read and run: JDLL 98d3be2 (2026-07), deepimagej-plugin c84362b, which uses dl-modelrunner 0.6.1.
"""

from __future__ import annotations

from bmzpack.consumers.conditions import description, files, processing, tensors, weights
from bmzpack.consumers.findings import Rule, Severity
from bmzpack.operations.registry import computed_in

NAME = "Fiji (deepImageJ)"
LINK = "deepimagej/deepimagej"
SAVED_MODEL = "tensorflow_saved_model_bundle"
ORDER = (SAVED_MODEL, "onnx", "torchscript")
OPERATIONS = computed_in("fiji")

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity


RULES = [
    Rule(
        "F1",
        CANNOT_OPEN,
        "JDLL unpacks the zip into a folder of the model and looks for rdf.yaml there and nowhere else.",
        "Zip the files themselves, not the folder that holds them.",
        files.not_at_the_top,
    ),
    Rule(
        "R3",
        CANNOT_OPEN,
        "JDLL looks for no other name than rdf.yaml.",
        "Rename it to rdf.yaml (`bmzpack repair` does).",
        description.other_name,
    ),
    Rule(
        "D1",
        CANNOT_OPEN,
        "JDLL casts entries to the type that the specification gives them, and ends with a ClassCastException or "
        "NullPointerException where they are of another.",
        "Correct the entry.",
        description.unreadable,
    ),
    Rule(
        "D2",
        CANNOT_OPEN,
        "JDLL reads format versions that begin with 0.4 or 0.5.",
        "Write the description in format 0.5.10.",
        description.versions_besides("0.4", "0.5"),
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "JDLL casts the documentation to a text and ends with a ClassCastException (seen in 98d3be2).",
        "Write the file name alone, and format_version: 0.5.10 (`bmzpack repair` does).",
        description.documentation_in_a_mapping,
    ),
    Rule(
        "R2",
        CANNOT_OPEN,
        "JDLL takes config.bioimageio.nickname where there is no id, and ends with a NullPointerException where there "
        "is none either (ModelDescriptorV05.java:52, seen).",
        "Add config.bioimageio.nickname (`bmzpack repair` does).",
        description.missing_nickname,
    ),
    Rule(
        "R4",
        DEGRADED,
        "JDLL chooses the engine by the version of the framework, and YAML reads 2.10 as the number 2.1.",
        "Write versions as text with three numbers, such as '2.10.1'.",
        weights.short_versions,
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "JDLL joins the axis ids to a word: time becomes btimeyxc, which ends with an ArrayIndexOutOfBoundsException "
        "(seen); an index axis is no axis that it knows; a space axis without an id is an exception (AxisV05, read).",
        "Use the axes batch, z, y, x and channel only, with channel_names.",
        lambda facts: [
            *tensors.axes_besides({"batch", "channel", "z", "y", "x"})(facts),
            *tensors.unnamed_axes(facts),
            *tensors.unnamed_channels(facts),
        ],
    ),
    Rule(
        "R6",
        CANNOT_OPEN,
        "JDLL's tile is floor((size + 2 halo) / step) x step, at most three times the image, and has to be min + n x "
        "step (TileCalculator, TileMaker:349): other sizes end with an IllegalArgumentException (seen).",
        "Choose min as a multiple of step.",
        tensors.steps,
    ),
    Rule(
        "R7",
        DEGRADED,
        "JDLL cuts images into tiles and takes off the halo of the output; without one the borders of the tiles show. "
        "An output of a fixed size works for images of a whole number of tiles only, and ends otherwise with 'Model "
        "specs too complex for JDLL'.",
        "Let the sizes refer to the input's axes, and set the halo to the radius of the receptive field.",
        lambda facts: [
            *tensors.untied_sizes(facts),
            *tensors.sizes_that_are_not_there(facts),
            *tensors.missing_halo(facts),
        ],
    ),
    Rule(
        "R8",
        DEGRADED,
        "deepImageJ's check runs the sample tensor, and compares the result with the test tensor.",
        "Leave sample_tensor out.",
        tensors.samples_that_differ,
    ),
    Rule(
        "R9",
        ADVICE,
        "The zoo's site finds models for a program by their links, not by their tags.",
        f"Add {LINK} to the links.",
        description.missing_link(LINK),
    ),
    Rule(
        "R11",
        DEGRADED,
        "JDLL's isStardist asks for 'stardist' in the name and for config.stardist; isCellpose is always false.",
        "Give the model a name with StarDist and a config.stardist, or neither.",
        lambda facts: [*description.stardist_that_is_not_found(facts), *description.cellpose(facts)],
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "JDLL runs saved models (TensorFlow to 2.10.1), ONNX (Runtime to 1.13.1) and TorchScript (PyTorch to 2.0.0); "
        "no Keras files.",
        "Add one of these formats (`bmzpack repair` converts Keras files).",
        weights.none_of(ORDER),
    ),
    Rule(
        "N2",
        ADVICE,
        "TensorFlow for Java has no build for Apple silicon.",
        "Add ONNX or TorchScript weights.",
        weights.only_saved_model,
    ),
    Rule(
        "F2",
        CANNOT_OPEN,
        "JDLL reads weights and test tensors from the unpacked folder.",
        "Add the file, or take its entry out.",
        weights.in_order(ORDER, files.of_weights_and_tensors(files.missing)),
    ),
    Rule(
        "F3",
        WRONG_RESULT,
        "JDLL does not look at checksums: it runs whatever file is there.",
        "Pack the bundle again from the right files.",
        weights.in_order(ORDER, files.of_weights_and_tensors(files.changed)),
    ),
    Rule(
        "F5",
        ADVICE,
        "JDLL downloads what is at an address when it installs a model from the zoo, but not when a zip is opened.",
        "Put the file into the bundle.",
        weights.in_order(ORDER, files.of_weights_and_tensors(files.outside)),
    ),
    Rule(
        "W1",
        CANNOT_OPEN,
        "JDLL wants saved_model.pb and a variables/ entry at the top of the zip (seen), reads the tag serve and the "
        "signature serving_default only, and looks its tensors up by their ids, else in the order of the map.",
        "Let `bmzpack repair` write the saved model anew.",
        weights.in_order(ORDER, weights.saved_model_layout, weights.saved_model_entry, weights.saved_model_signature),
    ),
    Rule(
        "W2",
        DEGRADED,
        "A graph with variables did not load in TensorFlow 2.7.4 (operation DisableCopyOnRead) or had lost its batch "
        "normalisation in 2.10.1 (seen); frozen ones ran from 1.15 on.",
        "Let `bmzpack repair` freeze it.",
        weights.in_order(ORDER, weights.saved_model_variables),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "ONNX Runtime 1.13.1, the newest in JDLL, refuses opsets above 17 and IR versions above 8 (seen).",
        "Write it with opset 15 to 17 and IR version 8, its tensors named by their ids (`bmzpack repair` tries).",
        weights.in_order(
            ORDER, weights.onnx_unreadable, weights.onnx_too_new, weights.onnx_names, weights.onnx_external
        ),
    ),
    Rule(
        "W4",
        CANNOT_OPEN,
        "PyTorch's engine loads archives of torch.jit only.",
        "Save the network with torch.jit (`bmzpack repair` converts Keras files).",
        weights.in_order(ORDER, weights.torchscript_archive),
    ),
    Rule(
        "T1",
        DEGRADED,
        "JDLL runs several inputs, but deepImageJ's macros and its check take one image.",
        "Bring the inputs together in one image of several channels.",
        tensors.more_inputs_than_one,
    ),
    Rule(
        "T3",
        CANNOT_OPEN,
        "JDLL casts every input to float32.",
        "Begin the network with a cast, so that its input is float32.",
        weights.in_order(ORDER, weights.saved_model_types, weights.onnx_types),
    ),
    Rule(
        "T4",
        CANNOT_OPEN,
        "deepImageJ's check reads them; a model that fails it is not offered.",
        "Write the test tensors anew with the network's own input and output.",
        tensors.test_tensors,
    ),
    Rule(
        "T5",
        CANNOT_OPEN,
        "Images in Fiji have the axes y and x.",
        "Nothing can be done for a network that gives no image; use it from Python.",
        tensors.no_images,
    ),
    Rule(
        "T6",
        CANNOT_OPEN,
        "JDLL chooses tiles by the description; the engine refuses what the network does not take.",
        "Declare the sizes that the network takes.",
        weights.in_order(ORDER, weights.saved_model_shapes, weights.onnx_shapes),
    ),
    Rule(
        "T7",
        CANNOT_OPEN,
        "JDLL keeps tensors by their ids.",
        "Give every tensor another id.",
        tensors.same_ids,
    ),
    Rule(
        "T10",
        DEGRADED,
        "JDLL cuts an image into tiles unless its sides are multiples of the step, and every tile gets its own labels.",
        "Say so in the documentation (`bmzpack pack` does); crop or pad images before they are put through.",
        tensors.labels,
    ),
    Rule(
        "T8",
        CANNOT_OPEN,
        "JDLL takes the output for an image whose size follows the input's.",
        "Nothing can be done for a network that gives no image; use it from Python.",
        tensors.sizes_by_data,
    ),
    Rule(
        "T9",
        WRONG_RESULT,
        "JDLL multiplies the size of the input by the scale of the output, whatever that of the input is, and adds the "
        "offset twice to tiles and not to the image: it expects another size than the network gives (AxisV05.getScale, "
        "TileMaker.getOutputTiles, read).",
        "Write the factor between both sizes as the scale of the output, and its square as that of the input "
        "(`bmzpack repair` does, where all outputs have one factor).",
        tensors.sizes_that_jdll_misreads,
    ),
    Rule(
        "P1",
        WRONG_RESULT,
        "JDLL normalises the whole tensor once more for every plane (seen with three channels).",
        "Let it run over channel, y and x.",
        processing.some_axes_of_many_channels,
    ),
    Rule(
        "P2",
        WRONG_RESULT,
        "JDLL takes the letters of 'batch' for axes, among them c (seen).",
        "Leave batch out of the axes.",
        processing.over_batch,
    ),
    Rule(
        "P3",
        DEGRADED,
        "JDLL's percentiles are not interpolated, about 0.3 % off, and its reference_tensor is ignored (seen).",
        "Use zero_mean_unit_variance or scale_linear, or live with the difference.",
        processing.rough_percentiles,
    ),
    Rule(
        "P4",
        WRONG_RESULT,
        "JDLL uses the first gain for all channels (seen).",
        "Put the scaling per channel into the network (`bmzpack pack` does).",
        processing.per_channel("scale_linear"),
    ),
    Rule(
        "P5",
        CANNOT_OPEN,
        "JDLL ends with an exception on lists (seen).",
        "Put the normalisation per channel into the network (`bmzpack pack` does).",
        processing.per_channel("fixed_zero_mean_unit_variance"),
    ),
    Rule(
        "P6",
        CANNOT_OPEN,
        "JDLL ends with an exception on lists (seen).",
        "Use one threshold, or put the thresholds into the network.",
        processing.per_channel("binarize"),
    ),
    Rule(
        "P7",
        CANNOT_OPEN,
        "JDLL needs both ends, and throws on percentiles (seen).",
        "Give min and max as numbers.",
        processing.open_clip,
    ),
    Rule(
        "P8",
        DEGRADED,
        "JDLL skips ensure_dtype; its tensors are float32 (seen).",
        "Leave ensure_dtype out, or cast inside the network.",
        processing.casts,
    ),
    Rule(
        "P9",
        CANNOT_OPEN,
        "JDLL answers 'Invalid method', and the model does not run (seen).",
        "Put a softmax into the network (`bmzpack pack` does); leave scale_mean_variance out.",
        processing.named("softmax", "scale_mean_variance"),
    ),
    Rule(
        "P10",
        CANNOT_OPEN,
        "JDLL finds an operation by a class of its name: there is none for custom, stardist_postprocessing, "
        "cellpose_flow_dynamics and names of others (seen).",
        "Leave the operation out: Fiji has plugins for StarDist.",
        processing.skipped(OPERATIONS, but={"softmax", "scale_mean_variance", "ensure_dtype"}),
    ),
]
