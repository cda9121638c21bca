"""Objects of interior and border in ImageJ itself, without a plugin."""

from __future__ import annotations

from kerazoo.models.recipe import Recipe

_MACRO = """\
// Objects of the output of this network, in ImageJ without plugins. Apply the network, and run this macro while its
// output is the active image: its channels are the probabilities of background, interior and border.
// It gives a label image, in which every object has a number, and its outlines in the ROI Manager.
setOption("BlackBackground", true);
output = getTitle();
function channel(number, title) {
    selectImage(output);
    Stack.getDimensions(width, height, channels, slices, frames);
    if (channels > 1)
        run("Duplicate...", "title=" + title + " duplicate channels=" + number);
    else
        run("Duplicate...", "title=" + title + " duplicate range=" + number + "-" + number);
}
channel(2, "interior");
channel(3, "border");
imageCalculator("Add create 32-bit", "interior", "border");
rename("objects");
setThreshold({threshold}, 1000);
run("Convert to Mask");
selectImage("interior");
setThreshold({seed_threshold}, 1000);
run("Convert to Mask");
imageCalculator("AND", "interior", "objects");
// objects that touch are divided between the nearest interiors
run("Watershed");
run("Voronoi");
setThreshold(1, 255);
run("Convert to Mask");
imageCalculator("Subtract", "objects", "interior");
selectImage("objects");
run("Analyze Particles...", "size={minimum_size}-Infinity pixel show=[Count Masks] include{add}");
rename("labels");
close("interior");
close("border");
close("objects");
"""


def macro(recipe: Recipe, rois: bool = True) -> str:
    """The macro with the thresholds of a network.

    Parameters
    ----------
    recipe
        Of targets of the kind `border`.
    rois
        Whether outlines go into the ROI Manager, which needs a screen.
    """
    decoding = recipe.decoding
    return (
        _MACRO.replace("{threshold}", f"{decoding.threshold:g}")
        .replace("{seed_threshold}", f"{decoding.seed_threshold:g}")
        .replace("{minimum_size}", f"{decoding.minimum_size}")
        .replace("{add}", " add" if rois else "")
    )
