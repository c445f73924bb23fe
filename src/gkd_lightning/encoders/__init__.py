"""Teachers and students: tokens, freezing, weights in and out, resizing."""

from gkd_lightning.encoders.build import (
    STUDENT_RECORD,
    build_encoder,
    encoder_state,
    export_encoder,
    load_student,
    spec_of,
    versions,
)
from gkd_lightning.encoders.encoder import Encoder, FeatureMapEncoder, TransformerEncoder
from gkd_lightning.encoders.files import STUDENT_WEIGHTS, one_line, read_safetensors, weights_path
from gkd_lightning.encoders.fixed_size import fixed_to
from gkd_lightning.encoders.frozen import Frozen, PartlyFrozen
from gkd_lightning.encoders.linked_queries import LinkedQueries
from gkd_lightning.encoders.low_rank import LowRank, add_low_rank, merged
from gkd_lightning.encoders.preparation import (
    adamw,
    checkpoint_activations,
    compile_blocks,
    compiles,
    hold_in_bf16,
    prepare_encoders,
    release,
)
from gkd_lightning.encoders.reach import unreached
from gkd_lightning.encoders.refinement import Refinement, add_refinement, refinement_of, refining_tokens
from gkd_lightning.encoders.types import EncoderSpec, Joining, Looking, Tokens

__all__ = [
    "Encoder", "EncoderSpec", "FeatureMapEncoder", "Frozen", "Joining", "LinkedQueries", "Looking", "LowRank",
    "PartlyFrozen", "Refinement", "STUDENT_RECORD", "STUDENT_WEIGHTS", "Tokens", "TransformerEncoder", "adamw",
    "add_low_rank", "add_refinement", "build_encoder", "checkpoint_activations", "compile_blocks", "compiles",
    "encoder_state", "export_encoder", "fixed_to", "hold_in_bf16", "load_student", "merged", "one_line",
    "prepare_encoders", "read_safetensors", "refinement_of", "refining_tokens", "release", "spec_of", "unreached",
    "versions", "weights_path",
]  # fmt: skip
