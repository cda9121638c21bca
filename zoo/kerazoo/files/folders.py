"""Images and annotations in folders: paired by their names, or sorted by class."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bmzpack.errors import UserError
from kerazoo.files.annotations.read import ANNOTATION_SUFFIXES, MASK_SUFFIXES, names_in
from kerazoo.files.pair import Pair, stem_of
from kerazoo.files.read import SUFFIXES

_MASK_WORDS = (
    r"(?:cp[ _-]?masks?|masks?|label(?:l?ed|s)?|instances?(?:[ _-]ids?)?|seg(?:mentation)?|simple[ _]segmentation|"
    r"gt|ground[ _-]?truth|annot(?:ations?)?|rois?(?:et)?|objects?|outlines?)"
)
_IMAGE_WORDS = r"(?:img|image|im|raw|input|original)"
_ENDINGS = {words: re.compile(rf"(?<=[^ _.-])[ _.-]+{words}$") for words in (_MASK_WORDS, _IMAGE_WORDS)}
_BEGINNINGS = {words: re.compile(rf"^{words}(?:[ _.-]+|(?=\d))(?=.)") for words in (_MASK_WORDS, _IMAGE_WORDS)}
_KEPT_SUFFIX = re.compile(r"\.(?:ome\.)?(?:tiff?|png|jpe?g|bmp|czi|nd2|lif|svs|ndpi|mrxs)$")
_PARTS = ("train", "training", "val", "valid", "validation", "test", "testing")


def find_pairs(images: Path, masks: Path) -> list[Pair]:
    """Pair the files of two folders by their names.

    An annotation has its image's name, apart from the suffix, from capitals, from the form of accents, from a word such
    as `mask`, `labels` or `cp_masks` at its end or beginning, and from one such as `img` in the image's name; the
    image's own suffix may be kept in it (``a.tif_mask.png``). Both folders may be the same one; then every mask needs
    such a word, unless it is no picture. Where a folder holds nothing but folders, the files in these are taken, and
    the names of the folders belong to theirs; a folder that has the name of an image holds one picture per object.

    Parameters
    ----------
    images
        The folder of images.
    masks
        That of the annotations, or one file with those of all images (COCO).

    Returns
    -------
    list of Pair
        Sorted by id: the image's stem, after the folders that it lies in.

    Raises
    ------
    UserError
        A folder is missing or empty, an image has no annotation or more than one, or an annotation has no image.
    """
    if masks.is_file():
        return _pairs_of_file(images, masks)
    same = images.is_dir() and masks.is_dir() and images.resolve() == masks.resolve()
    if same and (found := _pairs_of_folders(images)):
        return found
    image_files = _files(images, "images", SUFFIXES)
    mask_files = _mask_files(masks, {_key(path, images) for path in image_files}, mixed=same)
    if same:
        image_files = [path for path in image_files if not _is_mask(path)]
        mask_files = [path for path in mask_files if _is_mask(path)]
        if not mask_files:
            raise UserError(
                f"{images} is given for the images and for the masks, and holds no masks: name another folder with "
                "--masks, or end the masks' names with _masks."
            )
    if (joint := _joint_file(mask_files)) is not None:
        return _pairs_of_file(images, joint, image_files)
    return _matched(images, masks, image_files, mask_files)


def find_classes(folder: Path) -> list[Pair]:
    """Images sorted into one folder per class.

    Parameters
    ----------
    folder
        Its folders are the classes; files in them that are no pictures, and folders whose names begin with a dot or are
        `__MACOSX`, are passed over.

    Returns
    -------
    list of Pair
        Sorted by id, which is `class/stem`.

    Raises
    ------
    UserError
        There is no such folder, it has no folders, one of them holds no images, or two images of one class have the
        same stem.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name the one that holds one folder of images per class.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
    if not classes:
        raise UserError(f"{folder} holds no folders: make one per class, and put the images of the class into it.")
    parts = [place for place in classes if place.name.lower() in _PARTS]
    if parts and len(parts) == len(classes):
        raise UserError(
            f"{folder} is divided into {' and '.join(part.name for part in parts)}, which hold the folders of the "
            f"classes: name the one to train and validate on, such as --folder {parts[0]}, and keep the other for "
            "kerazoo evaluate."
        )
    pairs: dict[str, Pair] = {}
    for place in classes:
        for path in _files(place, "images", SUFFIXES):
            name = f"{place.name}/{stem_of(path)}"
            if name in pairs:
                raise UserError(
                    f"{path} and {pairs[name].image.name} have the same stem: remove or rename one of them."
                )
            pairs[name] = Pair(name, path, category=place.name)
    return [pairs[name] for name in sorted(pairs)]


def images_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The images of a folder, sorted.

    Raises
    ------
    UserError
        There are none.
    """
    if recursive:
        found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and not _is_hidden(path)]
        if found:
            return found
    found = _direct(folder, SUFFIXES)
    if not found:
        inside = any(_nested(folder, SUFFIXES)) and not recursive
        more = " of its own, but its folders do: add --recursive" if inside else _kinds(folder, SUFFIXES)
        raise UserError(f"{folder} holds no images{more}.")
    return found


def _matched(images: Path, masks: Path, image_files: Sequence[Path], mask_files: Sequence[Path]) -> list[Pair]:
    by_name, by_core = defaultdict(list), defaultdict(list)
    ids: dict[str, Path] = {}
    for path in image_files:
        name = _id(path, images)
        if name in ids:
            raise UserError(f"{path} and {ids[name].name} have the same stem: remove or rename one of them.")
        ids[name] = path
        first, *others = _names(_key(path, images), _IMAGE_WORDS)
        by_name[first].append(path)
        for other in others:
            by_core[other].append(path)
    found: dict[Path, list[Path]] = defaultdict(list)
    without_image = []
    for path in mask_files:
        names = list(_names(_key(path, masks), _MASK_WORDS))
        owners = next((by[name] for by in (by_name, by_core) for name in names if len(by.get(name, ())) == 1), None)
        if owners:
            found[owners[0]].append(path)
        else:
            without_image.append(path)
    for image, several in found.items():
        if len(several) > 1:
            names = " and ".join(path.name for path in several)
            raise UserError(f"{image} has {len(several)} masks in {masks}, {names}: remove or rename all but one.")
    if without_mask := [path for path in image_files if path not in found]:
        raise UserError(
            f"{without_mask[0]} has no mask in {masks}{_and_more(without_mask, 'images')}: give the mask the image's "
            f"name, or move the image away.{_hint(without_mask[0], masks, without_image, MASK_SUFFIXES)}"
        )
    if without_image:
        raise UserError(
            f"{without_image[0]} has no image in {images}{_and_more(without_image, 'masks')}: give the mask the "
            f"image's name, or move it away.{_hint(without_image[0], images, [], SUFFIXES)}"
        )
    return [Pair(name, path, found[path][0]) for name, path in sorted(ids.items())]


def _pairs_of_file(images: Path, masks: Path, files: Sequence[Path] | None = None) -> list[Pair]:
    """The images of a folder with the annotations of one file."""
    files = _files(images, "images", SUFFIXES) if files is None else files
    names = names_in(masks)
    if names is None:
        if len(files) > 1 or masks.suffix.lower() not in MASK_SUFFIXES:
            raise UserError(
                f"{masks} is one file for {len(files)} images: name the folder of the masks, or a COCO file, which "
                "holds the annotations of many images."
            )
        return [Pair(_id(files[0], images), files[0], masks)]
    known = {_normalised(name) for name in names}
    if without := [path for path in files if _normalised(path.name) not in known]:
        near = difflib.get_close_matches(without[0].name, names, n=1)
        hint = f" The nearest name in it is {near[0]}." if near else ""
        raise UserError(
            f"{without[0]} has no annotations in {masks}{_and_more(without, 'images')}: correct its `file_name` there, "
            f"or move the image away.{hint}"
        )
    return [Pair(_id(path, images), path, masks) for path in files]


def _pairs_of_folders(root: Path) -> list[Pair]:
    """Pairs where every image has a folder of its own with the folders `images` and `masks`; else none."""
    pairs = []
    for place in sorted(path for path in root.iterdir() if path.is_dir() and not _is_hidden(path)):
        inner = {_normalised(path.name): path for path in place.iterdir() if path.is_dir()}
        images, masks = inner.get("images") or inner.get("image"), inner.get("masks") or inner.get("mask")
        if images is None or masks is None:
            return []
        files, objects = _files(images, "images", SUFFIXES), _direct(masks, MASK_SUFFIXES)
        if len(files) == 1:
            pairs.append(Pair(place.name, files[0], objects[0] if len(objects) == 1 else masks))
        else:
            found = _matched(images, masks, files, objects)
            pairs += [Pair(f"{place.name}/{pair.id}", pair.image, pair.mask) for pair in found]
    return pairs


def _mask_files(folder: Path, images: set[str], *, mixed: bool) -> list[Path]:
    """The annotations of a folder; a folder that is named like an image is one."""
    if not folder.is_dir() or _direct(folder, MASK_SUFFIXES):
        return _files(folder, "masks", MASK_SUFFIXES)
    cores = {name for image in images for name in _names(image, _IMAGE_WORDS)}
    found = []
    for place in sorted(path for path in folder.rglob("*") if path.is_dir() and not _is_hidden(path)):
        if not mixed and cores & set(_names(_key(place, folder, is_folder=True), _MASK_WORDS)):
            found.append(place)
        elif not any(parent in found for parent in place.parents):
            found += _direct(place, MASK_SUFFIXES)
    return found or _files(folder, "masks", MASK_SUFFIXES)


def _joint_file(masks: Sequence[Path]) -> Path | None:
    """The only JSON file among the annotations, if it holds those of several images."""
    if len(masks) == 1 and names_in(masks[0]) is not None:
        return masks[0]
    return None


def _files(folder: Path, what: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder, or of the folders in it where it has none."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: state where the {what} are.")
    found = _direct(folder, suffixes) or list(_nested(folder, suffixes))
    if not found:
        kinds = "TIFF, PNG, JPEG or BMP files"
        if suffixes is MASK_SUFFIXES:
            kinds = f"{kinds}, or annotations ending in {', '.join(ANNOTATION_SUFFIXES)}"
        raise UserError(f"{folder} holds no {what}{_kinds(folder, suffixes)}: it needs {kinds}.")
    return found


def _direct(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.name[0] != "." and not path.is_dir()
    )


def _nested(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and not path.is_dir():
            yield path


def _kinds(folder: Path, suffixes: Sequence[str]) -> str:
    """What else lies in a folder, for a message."""
    others = Counter(
        path.suffix.lower() for path in folder.iterdir() if path.is_file() and path.suffix and not _is_hidden(path)
    )
    unread = [f"{count} {kind}" for kind, count in others.most_common(3) if kind not in suffixes]
    return f" (but {', '.join(unread)}, which cannot be read here)" if unread else ""


def _hint(path: Path, folder: Path, candidates: Sequence[Path], suffixes: Sequence[str]) -> str:
    """Which file may have been meant."""
    name = _normalised(stem_of(path))
    if folder.is_dir():
        for other in sorted(folder.iterdir()):
            if other.suffix.lower() not in suffixes and _normalised(stem_of(other)) == name and other.is_file():
                return f" {other.name} has its name, but files ending in {other.suffix} cannot be read."
    near = difflib.get_close_matches(name, [_normalised(stem_of(other)) for other in candidates], n=1)
    nearest = next((other.name for other in candidates if near and _normalised(stem_of(other)) == near[0]), None)
    return f" The nearest name without an image is {nearest}." if nearest else ""


def _is_mask(path: Path) -> bool:
    """Whether the name says that a file is an annotation."""
    if path.suffix.lower() in ANNOTATION_SUFFIXES:
        return True
    stem = _normalised(stem_of(path))
    return bool(_ENDINGS[_MASK_WORDS].search(stem) or _BEGINNINGS[_MASK_WORDS].search(stem))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _id(path: Path, folder: Path) -> str:
    return (path.parent.relative_to(folder) / stem_of(path)).as_posix()


def _key(path: Path, folder: Path, *, is_folder: bool = False) -> str:
    """The name by which files are paired."""
    name = path.name if is_folder else stem_of(path)
    return _normalised((path.parent.relative_to(folder) / name).as_posix())


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _names(key: str, words: str) -> Iterator[str]:
    """A name, and what is left of it without suffixes and words, one after the other."""
    folder, separator, name = key.rpartition("/")
    seen = set()
    while name and name not in seen:
        yield folder + separator + name
        seen.add(name)
        for pattern in (_KEPT_SUFFIX, _ENDINGS[words], _BEGINNINGS[words]):
            if (shorter := pattern.sub("", name)) != name:
                name = shorter
                break


def _and_more(paths: Iterable[Path], what: str) -> str:
    further = len(list(paths)) - 1
    return f" (nor have {further} more {what})" if further else ""
