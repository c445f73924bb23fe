"""`python -m gkd_lightning` is `gkd`: what a chain starts when several devices need processes of their own."""

import sys

from gkd_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
