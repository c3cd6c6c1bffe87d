"""Fuzz targets: one module per reader of files that come from anywhere.

A module `NAME.py` of this folder that has `SEEDS` and `read` is a target:

    SEEDS: list[bytes]                                    # files that are read without an error
    def read(data: bytes, folder: pathlib.Path) -> None   # `folder` is empty and its own

`read` writes the bytes into `folder` where its reader wants a file, and reads them as edgebench does.
It returns or raises an EdgebenchError; anything else, a hang or memory without bound is a violation.

    python -m tests.fuzz                    # every target, some thousand mutated files each
    python -m tests.fuzz gguf --runs 20000  # one target, for longer
    python -m tests.fuzz gguf --file FILE   # one file once more, with its traceback
"""
