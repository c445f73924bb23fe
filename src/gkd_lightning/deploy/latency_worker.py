"""One model in a process of its own, asked over a pipe for so many images: `python -m …latency_worker TASK`.

Alone, so that its peak memory is its own, and an export is timed without PyTorch in the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gkd_lightning.deploy.exported import EXPORT_RECORD
from gkd_lightning.errors import UserError
from gkd_lightning.memory import peak_memory


class Work:
    """A model and its images.

    Args:
        task: ``path`` of the model, ``images`` (an `.npy` file, uint8 (n, H, W, 3)), ``domain``, ``device`` and
            ``threads``.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.images = np.load(task["images"])
        self.domain: str | None = task["domain"]
        self.model: Any = None
        if (Path(task["path"]) / EXPORT_RECORD).is_file():
            from gkd_lightning.deploy.runtimes import open_export

            exported = open_export(task["path"], task["threads"])
            self.segment, record, self.runtime = exported.segment, exported.record, exported.runtime
        else:
            import cv2
            import torch

            from gkd_lightning.deploy.model import load

            torch.set_num_threads(task["threads"])
            cv2.setNumThreads(task["threads"])
            self.model = load(task["path"], task["device"])
            self.segment, record = self.model.ids, self.model.record
            self.runtime = f"PyTorch {torch.__version__.partition('+')[0]}"
        if self.domain not in (record.get("judged") or {}):
            self.domain = None

    def turn(self, count: int) -> dict[str, Any]:
        """Seconds of each of `count` images; one before them is not timed, as others had the caches until now."""
        seconds = []
        for number in range(count + 1):
            image = self.images[number % len(self.images)]
            begun = time.perf_counter()
            ids = self.segment(image, self.domain)  # on the host: a GPU has finished
            seconds.append(time.perf_counter() - begun)
            assert ids.shape == image.shape[:2]
        return {"seconds": seconds[1:], "peak": peak_memory()}

    def count(self) -> dict[str, Any]:
        """Parameters and operations for an image; None for an export."""
        if self.model is None:
            return {"parameters": None, "flops": None}
        from gkd_lightning.flops import flop_counter

        with flop_counter() as counter:
            self.segment(self.images[0], self.domain)
        parameters = sum(each.numel() for each in self.model.segmenter.parameters())
        return {"parameters": parameters, "flops": counter.get_total_flops()}


def main(task: str) -> None:
    """Answer each line of stdin, a number of images or ``count``, with one of JSON, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # runtimes that talk do so elsewhere
    try:
        work = Work(json.loads(task))
        print(json.dumps({"runtime": work.runtime}), file=answers, flush=True)
        for line in sys.stdin:
            found = work.count() if line.strip() == "count" else work.turn(int(line))
            print(json.dumps(found), file=answers, flush=True)
    except UserError as error:
        print(json.dumps({"mistake": str(error)}), file=answers, flush=True)
    except KeyboardInterrupt:  # the parent tells
        pass


if __name__ == "__main__":
    main(sys.argv[1])
