"""A folder to put on PYTHONPATH of `pip download`, so that no code of a source distribution runs.

pip asks the build backend of a source distribution for metadata even where it only downloads. The
`sitecustomize` here answers in the backend's place (see `edgebench.assets.pip_download`).
"""
