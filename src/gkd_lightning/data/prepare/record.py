"""What a prepared folder was made of and how: the manifest beside the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import PIL

from gkd_lightning import __version__
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """A finished file: its size, the hash of its bytes, and the file it was made of, relative to the source folder."""

    bytes: int
    sha256: str
    source: str


class Record:
    """The manifest of one prepared folder.

    Args:
        destination: the folder.
        about: everything that decides the files' contents: data set, kind, source, format.
    """

    def __init__(self, destination: Path, about: Mapping[str, str]) -> None:
        self.path, self.about = destination / MANIFEST, dict(about)

    def begin(self) -> dict[str, Entry]:
        """The files that an earlier, finished or interrupted, preparation wrote down, by path.

        Raises:
            UserError: the folder holds something else, or was prepared from another source or in another way.
        """
        folder = self.path.parent
        if not self.path.is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UserError(f"{folder}: is not empty and was not prepared by gkd; give a new folder")
            self.write({}, complete=False)
            return {}
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            known = {path: Entry(**entry) for path, entry in found["files"].items()}
            other = [key for key, value in self.about.items() if found[key] != value]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path}: cannot be read as a manifest of gkd; give a new folder") from error
        if other:
            was, wanted = found[other[0]], self.about[other[0]]
            raise UserError(f"{folder}: was prepared with {other[0]} {was}, not {wanted}; give a new folder")
        self.write(known, complete=False)
        return known

    def write(self, entries: Mapping[str, Entry], complete: bool) -> None:
        """Write the manifest."""
        versions = {"gkd_lightning": __version__, "opencv": cv2.__version__, "pillow": PIL.__version__}
        files = {path: asdict(entry) for path, entry in sorted(entries.items())}
        write_json(self.path, {**self.about, "complete": complete, "versions": versions, "files": files})
