from gkd_lightning.deploy import load as load
from gkd_lightning.encoders import load_student as load_encoder

__all__ = ["__version__", "load", "load_encoder"]
__version__: str
