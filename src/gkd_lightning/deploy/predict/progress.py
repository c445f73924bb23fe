"""What was segmented before, and by what: a call goes on where the last one ended, or is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gkd_lightning.data import file_state, protocol_for
from gkd_lightning.deploy.model import SegmentationModel
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json

RECORD, FINISHED = "predict.json", "finished.jsonl"
KIND = "gkd-prediction"

_DIFFERS = {
    "segmenter": "another segmenter",
    "resize": "images that were resized by another rule (--domain)",
    "windows": "other windows",
    "classes": "other --classes",
    "temperature": "another --temperature",
}


def identity(model: SegmentationModel, domain: str | None, kept: Mapping[int, str]) -> dict[str, Any]:
    """All that decides what is written of an image: files, rule of resizing, classes kept, temperature."""
    record, rule = model.record, protocol_for(model.record, domain)
    digests = record["files"] if "files" in record else {"segmenter.safetensors": record["sha256"]}
    return {
        "kind": KIND,
        "segmenter": dict(digests),
        "resize": {"resize": rule.resize, "size": None if rule.size is None else list(rule.size)},
        "windows": [record["window"], record["stride"]],
        "classes": {str(number): name for number, name in kept.items()},
        "ignore": model.label_space.ignore,
        "temperature": None if model.temperature == 1 else model.temperature,  # as in records of older versions
    }


class Progress:
    """Which inputs are finished in a folder of predictions.

    `predict.json` says what made them; every finished input is a line of `finished.jsonl`, with the size and the time
    of its file, so that a file that has changed since is segmented again.

    Args:
        out: the folder.
        made_by: see `identity`.

    Raises:
        UserError: what lies there was made by something else.
    """

    def __init__(self, out: Path, made_by: Mapping[str, Any]) -> None:
        self.out, self.path, self.made_by = out, out / FINISHED, made_by
        self._lines: dict[str, dict[str, Any]] = {}
        self._begun = (out / RECORD).exists()
        if self._begun:
            self._require_same(out / RECORD, made_by)
            self._read()

    def begin(self) -> None:
        """Call before the first file is written: from now on the folder belongs to what makes it."""
        if not self._begun:
            self.out.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            write_json(self.out / RECORD, self.made_by)
            self._begun = True

    def of(self, name: str, source: str | None = None) -> dict[str, Any] | None:
        """The line of a finished input; None if there is none, or its file is another one now."""
        line = self._lines.get(name)
        if line is None or source is None:
            return line
        return line if line.get("file") == _stamp(source) else None

    def add(self, name: str, source: str | None = None, **values: Any) -> None:
        """An input is finished, and all its files are written."""
        line = {"name": name, **({} if source is None else {"file": _stamp(source)}), **values}
        self._lines[name] = line
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")

    def _require_same(self, record: Path, made_by: Mapping[str, Any]) -> None:
        try:
            before = json.loads(record.read_text(encoding="utf-8"))
            if before["kind"] != KIND:
                raise ValueError(f"kind is {before['kind']!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{record}: not the record of predictions ({error!r}); give another --out") from error
        for key, value in made_by.items():
            if before.get(key) != value:
                what = _DIFFERS.get(key, f"another {key}")
                raise UserError(f"--out {self.out}: holds predictions of {what} ({RECORD}); give another folder")

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a line that was cut off, to which the next one would be added
            self.path.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            try:
                found = json.loads(line)
                self._lines[found["name"]] = found
            except (ValueError, KeyError, TypeError):
                continue  # that image is segmented again


def _stamp(source: str) -> list[int]:
    return list(file_state(source))
