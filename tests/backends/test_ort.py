"""ONNX Runtime: what is asked of a provider is given to it, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench import registry
from edgebench.backend import ModelFile
from edgebench.errors import UnsupportedError
from tests import onnx_models


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[]", "no JSON object of the options of each provider"),
        ('{"CPUExecutionProvider": 3}', "no JSON object of the options of each provider"),
        ("{", "no JSON object of the options of each provider"),
        ('{"CPUExecutionProvider": {"threads": "3"}}', "CPUExecutionProvider has no provider_opt"),
        ('{"CUDAExecutionProvider": {"device_id": "0"}}', "unused providers"),
    ],
)
def test_provider_options_of_no_effect_are_refused(tmp_path: Path, given: str, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.convolution().SerializeToString())
    backend = registry.load("ort")
    backend.import_runtime()
    with pytest.raises(UnsupportedError, match=said):
        backend.open(ModelFile(path, "onnx", "0" * 64), {"provider_options": given})
