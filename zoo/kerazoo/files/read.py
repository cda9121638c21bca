"""Reading images and annotations: TIFF in all its dialects, PNG and JPEG.

The axes of a TIFF are those that its metadata state (ImageJ, OME, colour samples). Where they state none, the file is
refused with the plausible readings, and the user says which it is: nothing is guessed. The letters are T time, Z depth,
C channel, Y row, X column and S colour sample.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.calibration import calibration
from kerazoo.files.pictures import decoding, is_16_bit_png, open_picture, picture_header, read_picture

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg")

_LAYOUTS = {
    2: ("YX",),
    3: ("YXC", "CYX", "ZYX", "TYX"),
    4: ("TZYX", "ZCYX", "CZYX", "TCYX", "ZYXC", "TYXC"),
    5: ("TZCYX", "TCZYX"),
}
_MOST_CHANNELS = 16
"""An axis longer than this is not proposed as channels."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """An image file of one or more planes, read plane by plane."""

    path: Path
    axes: str
    """The axes of what `planes` give together: the leading ones in the file's order, then `YXC`."""
    leading_shape: tuple[int, ...]
    """Lengths of the leading axes; empty for a single plane."""
    plane_shape: tuple[int, int, int]
    """(y, x, channel)."""
    dtype: np.dtype[Any]
    pixel_size: tuple[float, float] | None
    """(y, x) in micrometres, where the file states it."""
    metadata: dict[str, Any]
    """What an ImageJ file keeps beside the axes: `spacing` of the slices in micrometres, `finterval` in seconds."""
    _layout: _Layout = dataclasses.field(repr=False)

    def planes(self) -> Iterator[np.ndarray]:
        """The planes (y, x, channel) in the file's order, each read when it is asked for.

        Yields
        ------
        np.ndarray
            One plane, the file's dtype; a view of the file where it can be mapped into memory.

        Raises
        ------
        UserError
            The file is damaged, has NaN or infinite values, or a transparency that is not uniform.
        """
        with self._layout.pages() as read:
            for position in itertools.product(*map(range, self.leading_shape)):
                yield _checked(read(position), self.path, self._layout.alpha)


def read_image(path: str | Path, axes: str | None = None, channels: int | None = None) -> np.ndarray:
    """Read a single plane.

    Parameters
    ----------
    path
        A TIFF, PNG or JPEG file.
    axes
        The axes of a TIFF file, such as ``CYX``, where its metadata do not state them or are wrong.
    channels
        The number of channels that is expected; by default any.

    Returns
    -------
    np.ndarray
        Array (y, x, channel) of the file's dtype; an opaque transparency channel is left away.

    Raises
    ------
    UserError
        The file is missing, damaged, truncated, of another format or type, ambiguous in its axes, a stack of planes,
        has another number of channels, or has NaN or infinite values.
    """
    stack = open_stack(path, axes, channels)
    if stack.leading_shape:
        lengths = ", ".join(f"{a} {n}" for a, n in zip(stack.axes[:-3], stack.leading_shape, strict=True))
        raise UserError(
            f"{stack.path} is a stack of planes ({lengths}), but one plane is needed: save its planes as single files, "
            "or correct its axes with data.axes or --axes."
        )
    return np.array(next(stack.planes()))


def open_stack(path: str | Path, axes: str | None = None, channels: int | None = None) -> Stack:
    """Open an image of any number of planes without reading its pixels.

    Parameters
    ----------
    path
        A TIFF, PNG or JPEG file.
    axes
        The axes of a TIFF file, such as ``TCYX``, where its metadata do not state them or are wrong.
    channels
        The number of channels that is expected; by default any.

    Returns
    -------
    Stack
        Its planes are read one by one.

    Raises
    ------
    UserError
        As for `read_image`, apart from the stacks.
    """
    path = Path(path)
    layout = _layout_of(path, axes)
    alpha = layout.alpha and channels != layout.plane_shape[2]
    layout = dataclasses.replace(layout, alpha=alpha)
    height, width, found = layout.plane_shape
    found -= alpha
    if channels is not None and found != channels:
        raise UserError(
            f"{path} has {found} channel{'s' * (found > 1)} instead of the expected {channels}: convert it (a "
            f"training on such images has data.channels: {found})."
        )
    if layout.dtype.kind not in "biuf":
        raise UserError(f"{path} has values of type {layout.dtype}: save it with integer or float values.")
    return Stack(
        path=path,
        axes=layout.leading_axes + "YXC",
        leading_shape=layout.leading_shape,
        plane_shape=(height, width, found),
        dtype=np.dtype(np.uint8) if layout.dtype == bool else layout.dtype,
        pixel_size=layout.pixel_size,
        metadata=layout.metadata,
        _layout=layout,
    )


def read_mask(
    path: str | Path, annotation: Literal["labels", "classes", "binary"], ignore: int | None = None
) -> np.ndarray:
    """Read an annotation.

    Parameters
    ----------
    path
        A TIFF or PNG file with one number per pixel; palette files are read as indices.
    annotation
        What the numbers mean: `labels` and `classes` are kept, `binary` becomes 0 and 1.
    ignore
        The value of pixels without annotation; it is kept.

    Returns
    -------
    np.ndarray
        Array (y, x), int32.

    Raises
    ------
    UserError
        The file is missing, damaged, a JPEG, a colour picture, a stack, of float type or beyond 32 bits.
    """
    path = Path(path)
    _check_exists(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path} is a JPEG, which changes the values of a mask: save it as PNG or TIFF.")
    mask = _read_indices(path)
    if mask.ndim == 3 and mask.shape[2] == 4 and (mask[..., 3] == mask[..., 3].max()).all():
        mask = mask[..., :3]
    if mask.ndim == 3 and (mask == mask[..., :1]).all():
        mask = mask[..., 0]
    if mask.ndim == 3:
        raise UserError(
            f"{path} is a colour picture: a mask needs one number per pixel, save it as label image or palette PNG."
        )
    if mask.ndim != 2:
        raise UserError(f"{path} is a stack ({' x '.join(map(str, mask.shape))}): save its planes as single masks.")
    if mask.dtype.kind not in "biu":
        raise UserError(
            f"{path} is a float mask (type {mask.dtype}): convert it to integers, in Fiji with Image > Type > 16-bit "
            "after switching off Edit > Options > Conversions > Scale when converting."
        )
    if mask.dtype.itemsize > 2 and mask.max() > np.iinfo(np.int32).max:
        raise UserError(f"{path} has the value {mask.max()}: number its objects below 2147483648.")
    if annotation == "binary":
        objects = (mask != 0).astype(np.int32)
        if ignore is not None:
            objects[mask == ignore] = ignore
        return objects
    return mask.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the axes of a file are."""

    path: Path
    axes: str
    """One letter for every axis of the stored array."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    alpha: bool = False
    """Whether the last colour sample is transparency, to be left away."""
    pixel_size: tuple[float, float] | None = None
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def channel_axis(self) -> str:
        return "S" if "S" in self.axes else "C"

    @property
    def leading_axes(self) -> str:
        return "".join(axis for axis in self.axes if axis not in "CSYX")

    @property
    def leading_shape(self) -> tuple[int, ...]:
        return tuple(self._length(axis) for axis in self.leading_axes)

    @property
    def plane_shape(self) -> tuple[int, int, int]:
        return self._length("Y"), self._length("X"), self._length(self.channel_axis)

    def _length(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @contextlib.contextmanager
    def pages(self):
        """Give a function from a position on the leading axes to the plane (y, x, channel)."""
        if self.path.suffix.lower() not in TIFF_SUFFIXES:
            picture = read_picture(self.path)
            yield lambda position: picture
            return
        with decoding(self.path), tifffile.TiffFile(self.path) as file:
            series = file.series[0]
            stored = _Pages(series)

            def read(position: tuple[int, ...]) -> np.ndarray:
                with decoding(self.path):
                    places = iter(position)
                    index = tuple(slice(None) if axis in "CSYX" else next(places) for axis in self.axes)
                    plane = stored.read(index)
                    axes = "".join(axis for axis in self.axes if axis in "CSYX")
                    if len(axes) == 2:
                        plane, axes = plane[..., None], axes + "C"
                    return plane.transpose(axes.index("Y"), axes.index("X"), axes.index(self.channel_axis))

            yield read


class _Pages:
    """Reads parts of a TIFF series: from a memory map where the file allows it, else page by page."""

    def __init__(self, series: tifffile.TiffPageSeries) -> None:
        self.series = series
        self.shape = _squeezed(series.axes, series.shape)[1]
        self.mapped = series.asarray(out="memmap").reshape(self.shape) if series.dataoffset is not None else None
        within = sum(length > 1 for length in series.keyframe.shape)
        self.leading = self.shape[: len(self.shape) - within]
        """The axes that run over pages, not within one."""

    def read(self, index: tuple[int | slice, ...]) -> np.ndarray:
        """The part of the (squeezed) series at an index."""
        if self.mapped is not None:
            return self.mapped[index]
        pages = [page for page in self.series.pages if page is not None]
        if len(pages) != np.prod(self.leading, dtype=int):
            return self.series.asarray().reshape(self.shape)[index]
        over, within = index[: len(self.leading)], index[len(self.leading) :]
        numbers = np.asarray(np.arange(len(pages)).reshape(self.leading)[over])
        shape = self.shape[len(self.leading) :]
        parts = np.stack([pages[number].asarray().reshape(shape)[within] for number in numbers.flat])
        return parts.reshape(*numbers.shape, *parts.shape[1:])


def _layout_of(path: Path, axes: str | None) -> _Layout:
    _check_exists(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is not an image that can be read: save it as TIFF, PNG or JPEG.")
    if path.suffix.lower() not in TIFF_SUFFIXES:
        shape, dtype = picture_header(path)
        return _Layout(path, "YXS", shape, dtype, alpha=shape[2] in (2, 4))
    with decoding(path), tifffile.TiffFile(path) as file:
        _check_complete(path, file)
        series = file.series[0]
        letters, shape = _squeezed(series.axes, series.shape)
        if axes is not None:
            letters = _given_axes(path, axes, letters, series.shape, shape)
        elif set(letters) - set("TZCSYX") or not {"Y", "X"} <= set(letters) or len(set(letters)) < len(letters):
            raise UserError(_ambiguous(path, letters, shape))
        if "S" in letters and "C" in letters:
            raise UserError(f"{path} has channels and colour samples (axes {letters}): save it with one or the other.")
        page = series.keyframe
        alpha = "S" in letters and any(int(extra) in (1, 2) for extra in page.extrasamples or ())
        pixel_size, metadata = calibration(file)
        return _Layout(path, letters, shape, np.dtype(series.dtype), alpha, pixel_size, metadata)


def _squeezed(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes and shape without the axes of length one other than Y and X."""
    kept = [(axis, length) for axis, length in zip(axes, shape, strict=True) if length > 1 or axis in "YX"]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def _given_axes(path: Path, axes: str, letters: str, full: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The axes that the user states, for the squeezed shape."""
    axes = axes.upper()
    if set(axes) - set("TZCSYX") or not {"Y", "X"} <= set(axes) or len(set(axes)) < len(axes):
        raise UserError(
            f"The axes {axes!r} are not understood: use Y, X and each of T, Z, C at most once, such as CYX."
        )
    if len(axes) == len(shape):
        return axes
    if len(axes) == len(full):
        return _squeezed(axes, full)[0]
    if len(shape) == 2 and letters == "YX":
        return letters
    raise UserError(
        f"{path} has {len(shape)} axes ({' x '.join(map(str, shape))}), but {axes} names {len(axes)}: "
        "correct data.axes or --axes, or leave it out if the file states its axes."
    )


def _ambiguous(path: Path, letters: str, shape: tuple[int, ...]) -> str:
    choices = []
    for layout in _LAYOUTS.get(len(shape), ()):
        length = shape[layout.index("C")] if "C" in layout else 0
        known = all(a == b or a not in "TZC" for a, b in zip(letters, layout, strict=True))
        if length <= _MOST_CHANNELS and known and not ("S" in letters and not layout.endswith("C")):
            choices.append(layout)
    what = "one of " if len(choices) > 1 else ""
    return (
        f"{path} does not state what its axes of {' x '.join(map(str, shape))} are: say so with data.axes in the "
        f"configuration or --axes on the command line, {what}{', '.join(choices) or 'such as TZCYX'}."
    )


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no file {path}: check the name.")


def _check_complete(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse a TIFF whose pixels reach beyond its end; a decoder may fill them with zeros instead."""
    size = file.filehandle.size
    for page in file.series[0].pages:
        if page is None:
            continue
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise UserError(f"{path} is truncated (pixels are missing at its end): copy or export it again.")


def _checked(plane: np.ndarray, path: Path, alpha: bool) -> np.ndarray:
    if alpha:
        transparency = plane[..., -1]
        if (transparency != transparency.flat[0]).any():
            raise UserError(
                f"{path} has a transparency channel that is not uniform: save it without transparency (a "
                f"training that takes it for an image channel has data.channels: {plane.shape[-1]})."
            )
        plane = plane[..., :-1]
    if plane.dtype == bool:
        return plane.astype(np.uint8)
    if not plane.dtype.isnative:
        plane = plane.astype(plane.dtype.newbyteorder("="))
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        count = int((~np.isfinite(plane)).sum())
        raise UserError(f"{path} has {count} NaN or infinite pixels: replace them by numbers or remove the image.")
    return plane


def _read_indices(path: Path) -> np.ndarray:
    """The numbers that a mask file stores, palettes not resolved, axes of length one left away."""
    with decoding(path):
        if path.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as file:
                _check_complete(path, file)
                stored = file.series[0].asarray()
            return stored.reshape(_squeezed(file.series[0].axes, stored.shape)[1])
        if path.suffix.lower() != ".png":
            raise UserError(f"{path} is not a mask that can be read: save it as TIFF or PNG.")
        if is_16_bit_png(path):
            return imagecodecs.png_decode(path.read_bytes())
        with open_picture(path) as image:
            return np.asarray(image)
