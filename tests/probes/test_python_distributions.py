"""Installed distributions, and conflicts over the module `onnxruntime`."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgebench.probes.python_distributions import (
    Owner,
    installed_packages,
    mend_owners,
    onnxruntime_owners,
    packages_sha256,
)
from edgebench.testing.trees import write_tree

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
versions = st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}(\.post[0-9])?", fullmatch=True)


def test_matches_the_metadata_of_this_environment() -> None:
    found = installed_packages()
    expected = {
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower(): distribution.version
        for distribution in reversed(list(importlib.metadata.distributions()))
    }
    assert found == expected
    assert list(found) == sorted(found)


def test_every_layout_of_metadata_is_read(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "Some_Package.name-1.2.3.dist-info/METADATA": "",
            "torch-2.4.1+cu121.dist-info/METADATA": "",
            "old-0.9-py3.10.egg-info/PKG-INFO": "Version: 0.9",
            "single-4.5-py3.11.egg-info": "Version: 4.5",
            "linked.egg-info/PKG-INFO": "Metadata-Version: 2.1\nVersion: 7.8",
            "~emoved-1.0.dist-info/METADATA": "",
            "module/__init__.py": "",
        },
    )
    assert installed_packages([str(tmp_path), "absent.zip"]) == {
        "some-package-name": "1.2.3",
        "torch": "2.4.1+cu121",
        "old": "0.9",
        "single": "4.5",
        "linked": "7.8",
    }


def test_the_first_on_the_path_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_tree(first, {"a-1.dist-info/METADATA": ""})
    write_tree(second, {"a-2.dist-info/METADATA": "", "b-1.dist-info/METADATA": ""})
    assert installed_packages([str(first), str(second)]) == {"a": "1", "b": "1"}


@given(st.dictionaries(names, versions))
def test_the_hash_depends_on_the_set_alone(packages: dict[str, str]) -> None:
    backwards = dict(reversed(packages.items()))
    assert packages_sha256(packages) == packages_sha256(backwards)
    assert packages_sha256({**packages, "Not-A-Name": "1"}) != packages_sha256(packages)


def test_the_hash_is_the_documented_one() -> None:
    import hashlib

    expected = hashlib.sha256(b"a==1\nb==2\n").hexdigest()
    assert packages_sha256({"b": "2", "a": "1"}) == expected


def test_two_owners_of_onnxruntime_are_found(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "onnxruntime-1.20.0.dist-info/top_level.txt": "onnxruntime",
            "onnxruntime_gpu-1.20.1.dist-info/RECORD": "onnxruntime/__init__.py,sha256=x,1",
            "onnxruntime_extensions-0.1.dist-info/top_level.txt": "onnxruntime_extensions",
            "onnxruntime_genai-0.2.dist-info/RECORD": "onnxruntime_genai/__init__.py,,",
            "numpy-2.0.dist-info/top_level.txt": "numpy",
        },
    )
    owners = onnxruntime_owners([str(tmp_path)])
    assert owners == [Owner("onnxruntime", "1.20.0"), Owner("onnxruntime-gpu", "1.20.1")]
    fix = mend_owners(owners)
    assert "uninstall -y onnxruntime onnxruntime-gpu" in fix
    assert "pip install onnxruntime-gpu " in fix


def test_one_owner_twice_on_the_path_is_one(tmp_path: Path) -> None:
    write_tree(tmp_path, {"ort_nightly-1.21.dist-info/top_level.txt": "onnxruntime"})
    assert onnxruntime_owners([str(tmp_path), str(tmp_path)]) == [Owner("ort-nightly", "1.21")]
