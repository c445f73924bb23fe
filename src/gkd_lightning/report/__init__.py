"""What people look at: tables, charts, pictures, report.html. No number is computed here."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.report.attention_chart import AttentionRow, attention_png
    from gkd_lightning.report.change_lines import change_text
    from gkd_lightning.report.claims import headline, signed
    from gkd_lightning.report.conflict_charts import Training, parts_png, training_png
    from gkd_lightning.report.gallery import Gallery, Sample, colourize, merge_galleries, with_borders
    from gkd_lightning.report.html_report import write_report
    from gkd_lightning.report.markdown import grid, markdown_table
    from gkd_lightning.report.pictures import Grid, picture_grid
    from gkd_lightning.report.published import as_record, beside_published, rivals_table
    from gkd_lightning.report.similarity_chart import similarity_png
    from gkd_lightning.report.table_cells import COST_COLUMNS, cost_lines, facts
    from gkd_lightning.report.table_formats import FORMATS

__all__ = [
    "AttentionRow", "COST_COLUMNS", "FORMATS", "Gallery", "Grid", "Sample", "Training", "as_record", "attention_png",
    "beside_published", "change_text", "colourize", "cost_lines", "facts", "grid", "headline", "markdown_table",
    "merge_galleries", "parts_png", "picture_grid", "rivals_table", "signed", "similarity_png", "training_png",
    "with_borders",
    "write_report",
]  # fmt: skip

__getattr__ = on_demand(__name__, __file__)
