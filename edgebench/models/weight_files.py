"""Files beside a model that hold its weights."""

from __future__ import annotations

from pathlib import Path

from edgebench.errors import EdgebenchError
from edgebench.models.file_kind import format_of


def weights_beside(model: Path) -> list[Path]:
    """Files that hold weights of an ONNX model, whatever their names; other formats have none that they name. What cannot be
    read has none, and says so when it is opened."""
    from edgebench.models.onnx_file import external_files

    try:
        return external_files(model) if format_of(model) == "onnx" else []
    except EdgebenchError:
        return []
