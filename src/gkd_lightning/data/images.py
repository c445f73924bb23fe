"""Reading one image file as RGB, whatever it is, and listing the images of a folder."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, ImageOps, UnidentifiedImageError
from PIL import Image as Pillow

from gkd_lightning.data import archives
from gkd_lightning.data.jpegs import decoded_jpeg
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Compared without regard to upper and lower case, as `.JPEG` in ImageNet demands."""

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
"""Formats that are read, of a file of any name."""

DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Pillow.DecompressionBombError)
"""What Pillow raises for broken files; `SyntaxError` is its word for a damaged PNG."""

WATCHER: ContextVar[Callable[[str | os.PathLike[str], Image], None] | None] = ContextVar("WATCHER", default=None)
"""Called with every file that `read_image` has read, and its pixels."""

warnings.filterwarnings("ignore", category=Pillow.DecompressionBombWarning)  # from half of what is refused on

_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_24_BIT = b"\x18\0"


def read_image(path: str | os.PathLike[str]) -> Image:
    """RGB uint8 (H, W, 3) of an image file, upright.

    EXIF rotation is applied; grey and palette images become RGB; transparent pixels are composited on black;
    16 bit grey is scaled so that 65535 becomes 255; CMYK is converted by Pillow. Of an animation the first
    frame is read.

    Raises:
        UserError: no such file, a damaged or unknown file, or floating-point pixels (their range is anybody's
            guess).
    """
    try:
        pixels = _read(archives.read_bytes(path))
    except DECODING_ERRORS as error:
        raise unreadable(path, error, "image") from error
    watcher = WATCHER.get()
    if watcher is not None:
        watcher(path, pixels)
    return pixels


def _read(data: bytes) -> Image:
    with opened(BytesIO(data)) as image:
        if image.format in ("JPEG", "MPO"):
            pixels = decoded_jpeg(image, data)
            if pixels is not None:
                return _turned(pixels, image)
        elif _is_plain(image, data):
            decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _AS_STORED)
            if decoded is not None:  # else Pillow says what is wrong
                return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), dtype=np.uint8)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)


def opened(source: str | os.PathLike[str] | BytesIO) -> Pillow.Image:
    """A picture of one of `FORMATS`, whatever its name says: Pillow would start Ghostscript for an EPS file.

    A path may lead through an archive.

    Raises:
        UnidentifiedImageError: of another format.
    """
    if not isinstance(source, BytesIO) and archives.parted(source):
        source = BytesIO(archives.read_bytes(source))
    return Pillow.open(source, formats=FORMATS)


def _turned(pixels: Image, stored: Pillow.Image) -> Image:
    if stored.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return pixels
    turned = Pillow.fromarray(pixels)
    turned.info = stored.info
    ImageOps.exif_transpose(turned, in_place=True)
    return np.array(turned)


def _is_plain(image: Pillow.Image, data: bytes) -> bool:
    """Whether OpenCV gives a PNG's or BMP's pixels as Pillow does, in less time: complete, RGB, nothing to turn.

    Of a file that ends early OpenCV makes up the rest without a word, and a PNG may say at its end which way is up.
    """
    if image.mode != "RGB" or "icc_profile" in image.info or image.has_transparency_data:
        return False  # OpenCV drops transparency, and prints warnings about colour profiles
    if image.format == "BMP":
        return data[28:30] == _24_BIT and int.from_bytes(data[2:6], "little") == len(data)
    return image.format == "PNG" and data.endswith(_PNG_END) and not may_be_turned(data)


def may_be_turned(png: bytes) -> bool:
    """Whether the bytes of a PNG hold something that may say which way is up."""
    return any(word in png for word in (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif"))


def unreadable(path: str | os.PathLike[str], error: BaseException, what: str) -> UserError:
    """The one-line message for a file that could not be decoded."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{os.fspath(path)}: no such {what} file")
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "the format is unknown or the file is damaged"
    if isinstance(error, Pillow.DecompressionBombError):
        return UserError(f"{os.fspath(path)}: {_too_large(path)}; cut it into tiles, and its label or image as well")
    reason = reason.removesuffix(f": {str(os.fspath(path))!r}")
    return UserError(f"{os.fspath(path)}: cannot be read as {what}: {reason}; repair or remove the file")


def _too_large(path: str | os.PathLike[str]) -> str:
    most, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
    try:
        with opened(path) as picture:
            width, height = picture.size
    finally:
        Pillow.MAX_IMAGE_PIXELS = most
    return f"has {width}x{height} = {width * height:,} pixels, more than are read at once ({2 * (most or 0):,})"


def _rgb(image: Pillow.Image) -> Image:
    if image.mode == "RGB":
        return np.array(image, dtype=np.uint8)
    if image.mode.startswith("I"):
        grey = np.array(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its pixels are 32 bit integers, convert it to 8 or 16 bit")
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, convert it to 8 bit")
    if image.has_transparency_data:
        opaque = Pillow.new("RGBA", image.size, (0, 0, 0, 255))
        image = Pillow.alpha_composite(opaque, image.convert("RGBA"))
    return np.array(image.convert("RGB"), dtype=np.uint8)


def list_images(
    folder: str | os.PathLike[str],
    suffix: str | None = None,
    recursive: bool = True,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
) -> list[str]:
    """Paths of the image files below `folder`, relative to it, with forward slashes, sorted.

    Args:
        folder: where they are: a folder, a tar or zip archive, a folder inside one, or a folder of archives (which are
            looked into if it holds no such file itself).
        suffix: keep the files whose name ends so (`_leftImg8bit.png`); None keeps `suffixes`, in any case of letters.
        recursive: also look into sub-folders, linked ones too. Hidden files and folders are always left out.
        suffixes: of image files.

    Raises:
        UserError: no such folder, not a folder, one that cannot be read, a link that leads back into itself, or a
            damaged archive.
    """
    inside = archives.names_in(folder)
    if inside is not None:
        return _wanted(inside, suffix, recursive, suffixes)
    root = Path(folder)
    if not root.is_dir():
        problem = "not a folder" if root.exists() else "no such folder"
        raise UserError(f"{folder}: {problem}; give the folder that holds the images")
    names = []
    for parent, folders, files in os.walk(root, onerror=_unreadable_folder, followlinks=True):
        for name in folders:
            link = Path(parent) / name
            if link.is_symlink() and Path(parent).resolve().is_relative_to(link.resolve()):
                raise UserError(f"{link}: a link to a folder that holds it, whose images never end; remove it")
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        relative = Path(parent).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        names += [prefix + name for name in files]
    found = _wanted(names, suffix, recursive, suffixes)
    if not found:
        shards = [name for name in names if archives.is_archive(name) and not name.startswith(".")]
        members = [f"{shard}/{name}" for shard in shards for name in archives.names_in(root / shard) or []]
        found = _wanted(members, suffix, True, suffixes)
    return found


def _wanted(names: Iterable[str], suffix: str | None, recursive: bool, suffixes: tuple[str, ...]) -> list[str]:
    """Those of `list_images`, sorted; hidden files, and files in hidden folders, are none of them."""
    found = []
    for name in names:
        wanted = name.lower().endswith(suffixes) if suffix is None else name.endswith(suffix)
        if wanted and not f"/{name}".count("/.") and (recursive or "/" not in name):
            found.append(name)
    return sorted(found)


def _unreadable_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be looked into ({error.strerror}); change its rights, or remove it")


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a list file without blank ones and `#` comments.

    Raises:
        UserError: no such file, not text, or nothing in it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{os.fspath(path)}: cannot be read as a list of files: {error}") from error
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not entries:
        raise UserError(f"{os.fspath(path)}: the list is empty; write one image path per line")
    return entries


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of the image that `read_image` gives, from the file's head.

    Raises:
        UserError: no such file, or a damaged or unknown one.
    """
    try:
        with opened(path) as image:
            width, height = image.size
            if image.format != "PNG" or may_be_turned(archives.read_bytes(path)):  # else Pillow decodes a whole PNG
                sideways = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
                return (width, height) if sideways else (height, width)
            return height, width
    except DECODING_ERRORS as error:
        raise unreadable(path, error, "image") from error
