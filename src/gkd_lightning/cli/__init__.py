"""The `gkd` command; heavy imports wait until a verb needs them."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gkd_lightning import __version__
from gkd_lightning.cli.terminal import steady_terminal
from gkd_lightning.errors import UserError

VERBS = {
    "demo": "distil, compare and report on MiniCity: CPU, no downloads, minutes",
    "init": "look at your own folders of images and labels, write a recipe for them",
    "run": "run a recipe: all stages, evaluation and report; resumable",
    "reproduce": "run a benchmark's recipes, end with a table beside the paper's",
    "fit": "train one stage from configuration files",
    "validate": "score a segmenter on the validation domains",
    "test": "score a segmenter on the target domains, or exports as a run's segmenters were",
    "latency": "time models in turns: ms an image, memory, size; into the tables",
    "export": "write a student for ONNX Runtime, OpenVINO, PyTorch, timm or the Hub, compared before it is kept",
    "card": "write the model card of a run",
    "predict": "segment images, videos or a camera with a trained segmenter",
    "data": "check or list datasets",
    "weights": "check published weights against a model, or convert them",
    "inspect": "look into encoders: gradient conflict, features, attention, similarity",
    "report": "write the report of finished runs again",
    "table": "compare methods over seeds and over images, as Markdown, CSV, JSON or LaTeX",
    "list": "list teachers, students, heads, methods, datasets or recipes",
}

TRACEBACK = "GKD_TRACEBACK"
"""Set in the environment, it does what --traceback does."""

_MODULES = {"validate": "fit", "test": "fit", "list": "shipped"}  # a module `list` here would hide the built-in one

HELP = """usage: gkd VERB [options]

Generalizable knowledge distillation: a foundation model's robustness in a small segmentation model.

verbs:
{verbs}

options:
  -h, --help     show this help; `gkd VERB --help` shows a verb's own
  --version      show the version
  --traceback    show the stack of an error

first steps:
  gkd demo                                  see the whole method work on this machine
  gkd run minicity/compare --dry-run        see what a recipe would do
  gkd predict --ckpt segmenter.safetensors --images DIR --out DIR
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Returns:
        Exit status: 0 done, 2 a user's mistake, 130 interrupted, 1 anything else. Every failure is one line on
        stderr; ``--traceback`` shows the stack instead.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments or TRACEBACK in os.environ
    arguments = [argument for argument in arguments if argument != "--traceback"]
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where users keep their own classes; installed packages come first
    try:
        with steady_terminal(), _for_children(traceback):
            return _dispatch(arguments)
    except KeyboardInterrupt as interrupt:
        return _say(f"interrupted, resume with: {_resume_command(arguments, str(interrupt))}", 130)
    except Exception as error:
        if traceback:
            raise
        from gkd_lightning.cli.failure import message_and_status

        return _say(*message_and_status(error))


@contextlib.contextmanager
def _for_children(traceback: bool) -> Iterator[None]:
    """Tell the processes that a verb starts."""
    before = os.environ.get(TRACEBACK)
    if traceback:
        os.environ[TRACEBACK] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TRACEBACK, None)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())), end="")
        return 0
    verb, *rest = arguments
    if verb == "--version":
        print(__version__)
        return 0
    if verb not in VERBS:
        from gkd_lightning.errors import nearest

        raise UserError(f"{verb}: no such verb{nearest(verb, VERBS)} (see gkd --help)")
    module = importlib.import_module(f"gkd_lightning.cli.{_MODULES.get(verb, verb)}")
    status: int = module.run(verb, rest)
    return status


def _resume_command(arguments: list[str], directory: str) -> str:
    if arguments[:1] == ["run"]:  # again without --from, which would begin once more
        kept = [item for before, item in zip(["", *arguments], arguments, strict=False) if before != "--from"]
        arguments = [item for item in kept if item != "--from" and not item.startswith("--from=")]
    command = shlex.join(["gkd", *arguments])
    checkpoint = Path(directory) / "resume.ckpt"
    if arguments[:1] == ["fit"] and directory and "--ckpt_path" not in arguments and checkpoint.is_file():
        command += f" --ckpt_path {shlex.quote(str(checkpoint))}"
    return command


def _say(message: str, status: int) -> int:
    print(f"gkd: {message}", file=sys.stderr)
    return status
