"""A file that is written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgebench.errors import StoreError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what is to stand at `path` once the block has ended well.

    A device or a pipe (`/dev/null`, `/dev/stdout`) is written to itself: nothing may take its place. A link
    stays one, and its file is replaced. Raises StoreError where something cannot be written.
    """
    special = path.exists() and not path.is_file()
    target = path if special else path.resolve()
    partial = target if special else target.with_name(f".{target.name}.partial")
    try:
        yield partial
        if not special:
            partial.replace(target)
    except BaseException as error:
        if not special:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
        raise
