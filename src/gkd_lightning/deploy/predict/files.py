"""`gkd predict`: images, videos and streams segmented, and everything written that is wanted of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from json import dumps
from pathlib import Path, PurePosixPath

from gkd_lightning.data import protocol_for
from gkd_lightning.deploy.model import load
from gkd_lightning.deploy.predict import films, images
from gkd_lightning.deploy.predict.archive import server_of, write_archive
from gkd_lightning.deploy.predict.coco import Segment, dataset
from gkd_lightning.deploy.predict.inputs import Input, find_inputs
from gkd_lightning.deploy.predict.job import Job, frame_name
from gkd_lightning.deploy.predict.panoptic import PANOPTIC
from gkd_lightning.deploy.predict.panoptic import dataset as panoptic_dataset
from gkd_lightning.deploy.predict.products import COLOUR, CONFIDENCE, IDS, OVERLAY, SCORES, Products, kept_classes
from gkd_lightning.deploy.predict.progress import Progress, identity
from gkd_lightning.deploy.predict.totals import Totals
from gkd_lightning.deploy.predict.videos import Video
from gkd_lightning.deploy.runtimes import needed
from gkd_lightning.deploy.temperature import checked_temperature
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_text
from gkd_lightning.segment import finds_segments

COCO = "coco.json"
PANOPTIC_JSON = "panoptic.json"
_TOLD = 5
"""Files that could not be read, by name in the message; the others are counted."""


class FilePrediction:
    """Images, videos or a stream through a segmenter, to files; iterate over it to do the work.

    Args:
        checkpoint: `segmenter.safetensors` (its `segmenter.json` lies beside it), their folder, or that of an export.
        given: what to segment, see `find_inputs`.
        out: folder of everything that is written. Of an image NAME: ``ids/NAME.png``, ``colour/NAME.png``,
            ``overlay/NAME.png``; of a video ``overlay/NAME.mp4``.
        device: `auto`, `cpu`, `cuda` ...
        domain: images are resized as this one's were when the segmenter was judged, see `protocol_for`.
        classes: names of those to keep, None for all; pixels of the others get the id for ignored ones.
        ids: of a video too, ``ids/NAME/000000.png`` and so on.
        scores: ``scores/NAME.npy``, float16 (classes that are kept, H, W).
        confidence: ``confidence/NAME.png``, 16 bit, 65535 is 1.
        json: ``coco.json``: a segment for each image and class.
        panoptic: ``panoptic/NAME.png`` and ``panoptic.json``, in COCO's panoptic format, of images; overlays show the
            segments.
        batch: images of one size that go through the segmenter together.
        archive: name of a benchmark whose test images these are: ``NAME.zip``, as its server takes it.
        temperature: of the confidence and of the segments' scores in ``coco.json``, see `gkd_lightning.load`.

    Attributes:
        totals: how fast it went.

    Raises:
        UserError: from the constructor, before anything is written: no such input or class, no segmenter, a missing
            package, or a folder that holds predictions of another segmenter. From the iteration, at its end: files
            that could not be read; all others are done.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        given: Sequence[str],
        out: str | os.PathLike[str],
        *,
        device: str = "auto",
        domain: str | None = None,
        classes: Sequence[str] | None = None,
        ids: bool = False,
        scores: bool = False,
        confidence: bool = False,
        json: bool = False,
        panoptic: bool = False,
        batch: int = 1,
        archive: str | None = None,
        temperature: float | str | None = None,
    ) -> None:
        if batch < 1:
            raise UserError(f"--batch {batch}: give 1 or more")
        if checked_temperature(temperature) is not None and not (confidence or json):
            raise UserError("--temperature: is of the confidence, which nobody asks for; add --confidence or --json")
        if Path(out).exists() and not Path(out).is_dir():
            raise UserError(f"--out {os.fspath(out)}: is a file; give a folder")
        self.inputs = find_inputs(given, out)
        films_given = [each for each in self.inputs if each.kind != "image"]
        if films_given:
            needed("av", "video")
        if films_given and panoptic:
            raise UserError(f"--panoptic: is for images, and {films_given[0].source} is a {films_given[0].kind}")
        model = load(os.fspath(checkpoint), device, temperature)
        if panoptic and not finds_segments(model.segmenter):
            raise UserError(
                f"--panoptic: {os.fspath(checkpoint)} finds classes alone; segments need one that was trained with "
                "model.head.segments: panoptic"
            )
        protocol_for(model.record, domain)
        kept = kept_classes(model, classes)
        self.archive = archive
        self._server = None if archive is None else server_of(archive, model.classes, len(kept), self.inputs)
        if ids or scores or confidence or json:
            _require_room_for_frames(self.inputs)
        asked = [name for name, wanted in ((SCORES, scores), (CONFIDENCE, confidence)) if wanted]
        of_segments = [PANOPTIC] if panoptic else []
        folder = Path(out)
        self.job = Job(
            model,
            domain,
            batch,
            folder,
            of_images=Products((IDS, COLOUR, OVERLAY, *of_segments, *asked), json, kept, model.label_space),
            of_frames=Products(([IDS] if ids else []) + asked, json, kept, model.label_space),
            progress=Progress(folder, identity(model, domain, kept)),
        )
        self.stream = Video(self.inputs[0]) if self.inputs[0].kind == "stream" else None
        if self.stream is not None and self.stream.live and batch > 1:
            raise UserError(f"--batch {batch}: frames of a camera are segmented one at a time, as they come")

    @property
    def totals(self) -> Totals:
        """How fast it went."""
        return self.job.totals

    def __iter__(self) -> Iterator[Path]:
        """The path of each id map or overlay video, once all of its image or video is written; the archive at last."""
        job = self.job
        with job.totals.whole():
            if self.stream is not None:
                name = films.recording_name(self.inputs[0])
                self.inputs = [Input("stream", self.inputs[0].source, name)]
                yield from films.segment_video(job, self.stream, name)
            else:
                yield from self._files()
            if job.of_images.json and (found := list(self._segments())):
                write_text(job.out / COCO, dumps(dataset(job.of_images.kept, found)))
            if PANOPTIC in job.of_images.folders and (maps := list(self._panoptic_maps())):
                things = job.of_images.space.things
                write_text(job.out / PANOPTIC_JSON, dumps(panoptic_dataset(job.of_images.kept, things, maps)))
        if job.problems:
            told = "; ".join(job.problems[:_TOLD])
            more = f"; and {len(job.problems) - _TOLD} more" if len(job.problems) > _TOLD else ""
            raise UserError(f"{len(job.problems)} of {len(self.inputs)} not (wholly) segmented: {told}{more}")
        if self._server is not None:
            path = job.out / f"{self.archive}.zip"
            write_archive(self._server, path, self.inputs)
            yield path

    def _files(self) -> Iterator[Path]:
        job = self.job
        of = {"image": images.is_finished, "video": films.is_finished}
        left = [each for each in self.inputs if not of[each.kind](job, each)]
        job.totals.before = len(self.inputs) - len(left)
        yield from images.segment_images(job, [each for each in left if each.kind == "image"])
        for each in left:
            if each.kind == "video":
                try:
                    yield from films.segment_video(job, Video(each), each.name)
                except UserError as error:
                    job.problems.append(str(error))

    def _segments(self) -> Iterator[tuple[str, tuple[int, int], Sequence[Segment]]]:
        for each in self.inputs:
            line = self.job.progress.of(each.name)
            if line is None:
                continue
            names = [(each.name, f"{each.name}{Path(each.source).suffix}")]
            if each.kind != "image":
                frames = [frame_name(each.name, index) for index in range(line["frames"])]
                names = [(frame, f"{frame}.png") for frame in frames]
            for name, file in names:
                found = self.job.progress.of(name)
                if found is not None and "segments" in found:
                    yield file, (found["size"][0], found["size"][1]), found["segments"]

    def _panoptic_maps(self) -> Iterator[tuple[str, str, tuple[int, int], Sequence[Segment]]]:
        for each in self.inputs:
            found = self.job.progress.of(each.name)
            if found is not None and PANOPTIC in found:
                size = (found["size"][0], found["size"][1])
                yield f"{each.name}{Path(each.source).suffix}", f"{each.name}.png", size, found[PANOPTIC]


def _require_room_for_frames(inputs: Sequence[Input]) -> None:
    videos = {each.name: each for each in inputs if each.kind == "video"}
    for each in inputs:
        for parent in PurePosixPath(each.name).parents:
            if str(parent) in videos:
                other = videos[str(parent)].source
                raise UserError(f"{other} and {each.source}: outputs of the former's frames go where the latter's do")
