"""Labels as labelling tools write them: polygons, boxes, circles and runs of pixels, as a data set of label maps."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.data.annotations.dataset import AnnotatedImages
    from gkd_lightning.data.annotations.sources import (
        SUFFIXES,
        TOOLS,
        Source,
        annotations_of,
        class_names,
        source_of,
        sources_in,
    )

__all__ = ["AnnotatedImages", "SUFFIXES", "Source", "TOOLS", "annotations_of", "class_names", "source_of", "sources_in"]

__getattr__ = on_demand(__name__, __file__)
