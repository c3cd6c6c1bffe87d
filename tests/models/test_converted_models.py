"""What is told of a converted model: its size, and how long the conversion took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.measure import convert_model as convert
from edgebench.testing.fake_decoder import FakeDecoder


class Converting(FakeDecoder):
    """Makes a folder of a model's file, or a file with weights beside it, once."""

    def __init__(self, folder: bool) -> None:
        self._folder = folder

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        made = cache / ("made.d" if self._folder else "made.graph")
        weights = made / "deep" / "weights" if self._folder else cache / "made.weights"
        if not made.exists():
            weights.parent.mkdir(parents=True)
            weights.write_bytes(bytes(1000))
            (made / "graph" if self._folder else made).write_bytes(bytes(24))
        return replace(model, path=made)


@pytest.fixture(params=[True, False], ids=["folder", "files"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(registry, "load", lambda _: Converting(request.param))
    return tmp_path / "cache"


def converted(cache: Path) -> convert.Converted:
    return convert._convert(
        convert.ConvertJob(
            backend="converting",
            options={},
            path="model.gguf",
            format="gguf",
            sha256="",
            precision="as-is",
            batch=1,
            cache=str(cache),
        )
    )


def test_the_size_is_that_of_all_its_files(cache: Path) -> None:
    assert [converted(cache).size_bytes for _ in range(2)] == [1024, 1024]


def test_a_conversion_from_the_cache_took_what_it_took_at_first(cache: Path) -> None:
    first = converted(cache).seconds
    assert first is not None
    assert first > 0
    assert [converted(cache).seconds for _ in range(2)] == [first, first]


def test_a_look_into_a_cache_that_does_not_tell_is_no_time_of_a_conversion(cache: Path) -> None:
    """As an earlier version left it, or a process that was killed after converting."""
    converted(cache)
    for path in cache.glob("*.seconds"):
        path.unlink()
    assert converted(cache).seconds is None
