"""What the site makes of the code: reference pages, source pages, notebooks. See `docs/conf.py`."""
