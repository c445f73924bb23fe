"""`gkd latency RUN|EXPORT|CKPT…`: milliseconds an image, in turns, into the results that tables are made of."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options, read_size
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.chain.judging import Timed

FEWEST = 20
BUSY = 0.5


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd latency --help`."""
    options = Options(verb, "Time models in turns on the same images, from pixels to classes, into their results.json.")
    options.add_argument(
        "models", nargs="+", type=Path, metavar="RUN|EXPORT|CKPT",
        help="a run's folder (of each method the first seed), folders of exports, segmenter.safetensors files",
    )  # fmt: skip
    options.add_argument("--threads", help="of the processor, such as 1,4 (default: one, and all cores)")
    options.add_argument("--device", default="cpu", help="where checkpoints compute: cpu, cuda, cuda:1 (default: cpu)")
    options.add_argument("--domain", help="whose images, by whose protocol (default: the first unseen one)")
    options.add_argument("--size", help="HEIGHTxWIDTH of images of noise in their place, such as 1080x1920")
    options.add_argument("--images", type=int, default=100, help="timed images of each model (default: 100)")
    options.add_argument("--out", type=Path, metavar="FILE", help="write all of it here, too, as JSON")
    found = options.read(arguments)
    if found.images < FEWEST:
        raise UserError(
            f"--images {found.images}: give {FEWEST} or more, of which one is slower than the 95th percentile"
        )
    size = read_size(found.size)
    threads = _threads(found.threads, found.device)
    if found.device != "cpu":
        _require_gpu(found.device)
    from gkd_lightning.chain.judging import time_models

    with _progress() as tell:
        timed = time_models(
            found.models, size=size, domain=found.domain, threads=threads, device=found.device, count=found.images,
            out=found.out, tell=tell,
        )  # fmt: skip
    _print(timed)
    for path in [*dict.fromkeys(home for each in timed for home in each.homes), *([found.out] if found.out else [])]:
        print(path)
    return 0


def _threads(text: str | None, device: str) -> list[int]:
    from gkd_lightning.cores import cores

    most = cores()
    if text is None:
        return sorted({1, most}) if device == "cpu" else [most]
    if device != "cpu":
        raise UserError(f"--threads {text}: for the processor; leave it out with --device {device}")
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UserError(f"--threads {text}: expected whole numbers such as 1,4")
    numbers = sorted({int(part) for part in text.split(",")})
    if not 1 <= numbers[0] <= numbers[-1] <= most:
        raise UserError(f"--threads {text}: this process has {most} cores, give numbers from 1 to {most}")
    return numbers


def _require_gpu(device: str) -> None:
    import torch

    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise UserError(f"--device {device}: give cpu, cuda or cuda:1")
    if int(match[1] or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {device}: PyTorch sees {torch.cuda.device_count()} CUDA devices here")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """One line that changes, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


def _print(timed: Sequence[Timed]) -> None:
    from rich.console import Console
    from rich.table import Table

    first = timed[0].latencies[0]
    settings = [each.setting for each in timed[0].latencies]
    table = Table(title=f"{first.conditions}: median (95th percentile) ms", title_justify="left", box=None)
    table.add_column("model")
    for heading in ("runtime", *(f"{setting}, ms" for setting in settings), "MB", "parameters", "GFLOPs", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "runtime" else "right", no_wrap=True)
    for each in timed:
        last = each.latencies[-1]
        table.add_row(
            each.candidate.title, last.runtime,
            *(f"{found.median_ms:.1f} ({found.p95_ms:.1f})" for found in each.latencies),
            f"{last.model_mb:.1f}",
            "–" if last.parameters is None else f"{last.parameters / 1e6:.2f} M",
            "–" if last.gflops is None else f"{last.gflops:.3g}",
            f"{last.peak_memory_mb:.0f}",
        )  # fmt: skip
    console = Console(file=sys.stdout)
    Console(file=sys.stdout, width=console.width if console.is_terminal else 200).print(table)
    if first.load > BUSY:
        print(f"note: the system's load was {first.load:.1f} beforehand: measure again on a quiet machine")
