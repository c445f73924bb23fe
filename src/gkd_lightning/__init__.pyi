from gkd_lightning.cli.api import distil as distil
from gkd_lightning.cli.api import run as run
from gkd_lightning.deploy import load as load
from gkd_lightning.encoders import load_student as load_encoder

__all__ = ["__version__", "distil", "load", "load_encoder", "run"]
__version__: str
