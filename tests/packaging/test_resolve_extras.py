"""The check that extras resolve elsewhere: what it asks uv, what it never prints, what it forbids."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from tests.ci import resolve_extras
from tests.ci.resolve_extras import JETSON, MAC, Resolution


def answer(stdout: str = "", stderr: str = "", code: int = 0) -> Any:
    return subprocess.CompletedProcess([], code, stdout, stderr)


def test_every_runtime_is_checked_for_a_jetson_and_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def resolve(extra: str, target: Any) -> Resolution:
        asked.append((extra, target))
        return Resolution(["numpy==2"], "")

    monkeypatch.setattr(resolve_extras, "resolve", resolve)
    assert resolve_extras.main() == 0
    for extra in ("litert", "ncnn", "openvino"):
        targets = {target for name, target in asked if name == extra}
        assert set(MAC) < targets
        assert {target.python for target in targets} == {"3.10", "3.12"}
    assert {target for name, target in asked if name == "litert"} == {*JETSON, *MAC}
    assert "dev" not in {name for name, _ in asked}


def test_an_extra_that_does_not_resolve_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resolve_extras, "extras", lambda: ["litert"])
    monkeypatch.setattr(resolve_extras, "resolve", lambda *_: Resolution([], "no wheels"))
    assert resolve_extras.main() == 1
    assert "edgebench[litert] on aarch64-apple-darwin" in capsys.readouterr().out


@pytest.mark.parametrize(("package", "fails"), [("tensorrt-cu12==10.9", 1), ("numpy==2.0", 0)])
def test_a_jetson_never_gets_tensorrt_from_an_index(
    monkeypatch: pytest.MonkeyPatch, package: str, fails: int
) -> None:
    monkeypatch.setattr(resolve_extras, "extras", lambda: ["jetson"])
    monkeypatch.setattr(resolve_extras, "resolve", lambda *_: Resolution(["a==1", package], ""))
    assert resolve_extras.main() == fails


def test_pip_settings_are_handed_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "global.index-url='https://u:secret@one/simple'\nglobal.extra-index-url='https://two https://three'\n:env:.timeout='9'\n"
    monkeypatch.delenv("UV_INDEX", raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer(listed))
    assert resolve_extras.pip_settings() == {"UV_INDEX": "https://two https://three"}


def test_addresses_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "error: request to `https://user:secret@host/simple/x/` failed, also (file:///a/b)"
    monkeypatch.setattr(resolve_extras, "pip_settings", dict)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "uv")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer("", said, 1))
    complaint = resolve_extras.resolve("litert", JETSON[0]).complaint
    assert complaint == "error: request to `<address>` failed, also (<address>)"
