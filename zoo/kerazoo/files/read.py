"""Reading images: TIFF in all its dialects, PNG, JPEG and BMP.

The axes of a TIFF are those that its metadata state (ImageJ, OME, colour samples). Where they state none, the file is
refused with the plausible readings, and the user says which it is: nothing is guessed. The letters are T time, Z depth,
C channel, Y row, X column and S colour sample.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.appearance import black_is_zero, is_on_its_side, page_orientation, palette_of, turned
from kerazoo.files.calibration import calibration
from kerazoo.files.pictures import decoding, picture_header, read_picture

TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
SUFFIXES = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES)

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
    is_checked_by_reading: bool
    """Whether only the pixels tell that the file can be used: float values may be NaN, colours may be grey."""
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
            The file is damaged, has NaN or infinite values, a transparency that is not uniform, or colours where one
            channel is expected.
        """
        with self._layout.pages() as read:
            for position in itertools.product(*map(range, self.leading_shape)):
                yield _checked(read(position), self._layout)


def read_image(path: str | Path, axes: str | None = None, channels: int | None = None, **choice: Any) -> np.ndarray:
    """Read a single plane.

    Parameters
    ----------
    path, axes, channels, **choice
        As for `open_stack`.

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
    stack = open_stack(path, axes, channels, **choice)
    if stack.leading_shape:
        lengths = ", ".join(f"{a} {n}" for a, n in zip(stack.axes[:-3], stack.leading_shape, strict=True))
        raise UserError(
            f"{stack.path} is a stack of planes ({lengths}), but one plane is needed: save its planes as single files, "
            "or correct its axes with data.axes or --axes."
        )
    return np.array(next(stack.planes()))


def open_stack(
    path: str | Path,
    axes: str | None = None,
    channels: int | None = None,
    *,
    channel: Sequence[int] = (),
    series: int | None = None,
    fill: float | None = None,
) -> Stack:
    """Open an image of any number of planes without reading its pixels.

    Parameters
    ----------
    path
        A TIFF, PNG, JPEG or BMP file.
    axes
        The axes of a TIFF file, such as ``TCYX``, where its metadata do not state them or are wrong.
    channels
        The number of channels that is expected; by default any. Where one is, colours that are all grey are read as
        one channel.
    channel
        The channels to be read, counted from 1; by default all.
    series
        Which of the images in a TIFF file is read, counted from 1, where it holds several that differ in size.
    fill
        What NaN and infinite pixels become; by default they are refused.

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
    layout = _layout_of(path, axes, series)
    if channel and max(channel) > layout.plane_shape[2]:
        raise UserError(
            f"{path} has {layout.plane_shape[2]} channels, none of the number {max(channel)}: correct --channel "
            "(data.channel), which counts from 1; a TIFF file may need its axes, with --axes (data.axes)."
        )
    alpha = layout.alpha and channels != layout.plane_shape[2] and not channel
    height, width, found = layout.plane_shape
    found = len(channel) or found - alpha
    grey = channels == 1 and found == 3 and layout.is_coloured and not channel
    layout = dataclasses.replace(layout, alpha=alpha, grey=grey, channel=tuple(channel), fill=fill)
    if channels is not None and found != channels and not grey:
        raise wrong_channels(path, found, channels, has_axes=layout.may_have_axes)
    if layout.dtype.kind not in "biuf":
        raise UserError(f"{path} has values of type {layout.dtype}: save it with integer or float values.")
    return Stack(
        path=path,
        axes=layout.leading_axes + "YXC",
        leading_shape=layout.leading_shape,
        plane_shape=(height, width, 1 if grey else found),
        dtype=np.dtype(np.uint8) if layout.dtype == bool else layout.dtype,
        pixel_size=layout.pixel_size,
        metadata=layout.metadata,
        is_checked_by_reading=grey or layout.dtype.kind == "f",
        _layout=layout,
    )


def wrong_channels(path: Path, found: int, channels: int, *, has_axes: bool = False) -> UserError:
    """What to say of an image with another number of channels than expected."""
    pick = f", or pick {'one' if channels == 1 else channels} of them with --channel (data.channel)"
    axes = ", or say with --axes that they are planes, such as ZYX" if has_axes else ""
    return UserError(
        f"{path} has {found} channel{'s' * (found > 1)} instead of the expected {channels}: convert it"
        f"{pick if found > channels else ''}{axes} (a training on such images has data.channels: {found})."
    )


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
    series: int = 0
    orientation: int = 1
    palette: np.ndarray | None = None
    """Colours of the values, (entry, 3)."""
    grey: bool = False
    """Whether its colours must be grey, of which one is read."""
    channel: tuple[int, ...] = ()
    fill: float | None = None

    @property
    def is_coloured(self) -> bool:
        return "S" in self.axes or self.palette is not None

    @property
    def may_have_axes(self) -> bool:
        return self.path.suffix.lower() in TIFF_SUFFIXES and "S" not in self.axes and self.palette is None

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
        height, width = self._length("Y"), self._length("X")
        if is_on_its_side(self.orientation):
            height, width = width, height
        return height, width, 3 if self.palette is not None else self._length(self.channel_axis)

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
            series = file.series[self.series]
            stored = _Pages(series)

            def read(position: tuple[int, ...]) -> np.ndarray:
                with decoding(self.path):
                    places = iter(position)
                    index = tuple(slice(None) if axis in "CSYX" else next(places) for axis in self.axes)
                    plane = stored.read(index)
                    axes = "".join(axis for axis in self.axes if axis in "CSYX")
                    if len(axes) == 2:
                        plane, axes = plane[..., None], axes + "C"
                    plane = plane.transpose(axes.index("Y"), axes.index("X"), axes.index(self.channel_axis))
                    if self.palette is not None:
                        plane = self.palette[plane[..., 0]]
                    return turned(black_is_zero(plane, series.keyframe), self.orientation)

            yield read


class _Pages:
    """Reads parts of a TIFF series: from a memory map where the file allows it, else page by page."""

    def __init__(self, series: tifffile.TiffPageSeries) -> None:
        self.series = series
        self.shape = squeezed(series.axes, series.shape)[1]
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


def _layout_of(path: Path, axes: str | None, series: int | None) -> _Layout:
    check_exists(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is not an image that can be read: save it as TIFF, PNG or JPEG.")
    _check_axes(axes)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        shape, dtype = picture_header(path)
        return _Layout(path, "YXS", shape, dtype, alpha=shape[2] in (2, 4))
    with decoding(path), tifffile.TiffFile(path) as file:
        number = _chosen_series(path, file, series)
        chosen = file.series[number]
        check_complete(path, chosen, file.filehandle.size)
        letters, shape = squeezed(chosen.axes, chosen.shape)
        if axes is not None:
            letters = _given_axes(path, axes.upper(), letters, chosen.shape, shape)
        elif set(letters) - set("TZCSYX") or not {"Y", "X"} <= set(letters) or len(set(letters)) < len(letters):
            raise UserError(_ambiguous(path, letters, shape))
        if "S" in letters and "C" in letters:
            raise UserError(f"{path} has channels and colour samples (axes {letters}): save it with one or the other.")
        page = chosen.keyframe
        alpha = "S" in letters and any(int(extra) in (1, 2) for extra in page.extrasamples or ())
        pixel_size, metadata = calibration(file)
        orientation = page_orientation(page)
        if pixel_size is not None and is_on_its_side(orientation):
            pixel_size = pixel_size[1], pixel_size[0]
        palette = palette_of(page) if not set(letters) & set("SC") else None
        return _Layout(
            path,
            letters,
            shape,
            np.dtype(np.uint8 if palette is not None else chosen.dtype),
            alpha,
            pixel_size,
            metadata,
            series=number,
            orientation=orientation,
            palette=palette,
        )


def _chosen_series(path: Path, file: tifffile.TiffFile, wanted: int | None) -> int:
    """The index of the image that is meant; thumbnails and other reduced copies are none."""
    sizes = [squeezed(series.axes, series.shape)[1] for series in file.series]
    if wanted is not None:
        if not 1 <= wanted <= len(sizes):
            raise UserError(f"{path} has {len(sizes)} series, none of the number {wanted}: correct --series.")
        return wanted - 1
    whole = [number for number, series in enumerate(file.series) if not series.keyframe.is_reduced] or [0]
    if len(whole) > 1:
        largest = max(whole, key=lambda number: np.prod(sizes[number]))
        listed = ", ".join(f"{number + 1}: {' x '.join(map(str, sizes[number]))}" for number in whole)
        raise UserError(
            f"{path} holds {len(whole)} images of different size ({listed}): say which is meant with --series "
            f"(data.series); the largest is --series {largest + 1}."
        )
    return whole[0]


def squeezed(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes and shape without the axes of length one other than Y and X."""
    kept = [(axis, length) for axis, length in zip(axes, shape, strict=True) if length > 1 or axis in "YX"]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def _check_axes(axes: str | None) -> None:
    letters = (axes or "YX").upper()
    if set(letters) - set("TZCSYX") or not {"Y", "X"} <= set(letters) or len(set(letters)) < len(letters):
        raise UserError(
            f"The axes {axes!r} are not understood: use Y, X and each of T, Z, C at most once, such as CYX (--axes, "
            "data.axes)."
        )


def _given_axes(path: Path, axes: str, letters: str, full: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The axes that the user states, for the squeezed shape."""
    if len(axes) == len(shape):
        return axes
    if len(axes) == len(full):
        return squeezed(axes, full)[0]
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


def check_exists(path: Path) -> None:
    """Refuse a file that is not there."""
    if not path.is_file():
        raise UserError(f"There is no file {path}: check the name.")


def check_complete(path: Path, series: tifffile.TiffPageSeries, size: int) -> None:
    """Refuse a TIFF whose pixels reach beyond its size in bytes; a decoder may fill them with zeros instead."""
    for page in series.pages:
        if page is None:
            continue
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise UserError(f"{path} is truncated (pixels are missing at its end): copy or export it again.")


def _checked(plane: np.ndarray, layout: _Layout) -> np.ndarray:
    path = layout.path
    if layout.channel:
        plane = plane[..., [number - 1 for number in layout.channel]]
    if layout.alpha:
        transparency = plane[..., -1]
        if (transparency != transparency.flat[0]).any():
            raise UserError(
                f"{path} has a transparency channel that is not uniform: save it without transparency (a "
                f"training that takes it for an image channel has data.channels: {plane.shape[-1]})."
            )
        plane = plane[..., :-1]
    if layout.grey:
        if not is_grey(plane):
            raise wrong_channels(path, plane.shape[-1], 1)
        plane = plane[..., :1]
    if plane.dtype == bool:
        return plane.astype(np.uint8)
    if not plane.dtype.isnative:
        plane = plane.astype(plane.dtype.newbyteorder("="))
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        if layout.fill is not None:
            return np.where(np.isfinite(plane), plane, np.asarray(layout.fill, plane.dtype))
        count = int((~np.isfinite(plane)).sum())
        raise UserError(
            f"{path} has {count} NaN or infinite pixels: name the value that they get with --fill, such as --fill 0 "
            "(data.fill), or remove the image."
        )
    return plane


def is_grey(plane: np.ndarray) -> bool:
    """Whether red, green and blue of a plane (y, x, 3) are the same everywhere."""
    return bool((plane[..., 1:] == plane[..., :1]).all())
