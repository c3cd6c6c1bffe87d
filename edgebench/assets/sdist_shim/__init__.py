"""A folder to put on PYTHONPATH of `pip download`: `edgebench.assets.pip_download` says why."""
