"""What --base and --head may say, and what a policy may."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.ab_test import ab_cells, git_revisions, runtime_environments
from edgebench.ab_test.ab_cells import make_ab_cells
from edgebench.ab_test.ab_report_types import MEMORY
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.cell_verdict import rows
from edgebench.ab_test.pair_record import SIDES, Side
from edgebench.ab_test.pair_runner import Interpreter
from edgebench.ab_test.pairing import CellPair, Request, cell_pair, points
from edgebench.ab_test.variant_spec import KINDS, parse_side
from edgebench.ab_test.verdict import Rules
from edgebench.backend import Scalar
from edgebench.definitions.workload import Variant, Workload
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import AssetError, SpecError, UsageError
from edgebench.gate.policy import Allowance, budget_s_of, load_policy
from edgebench.gate.policy_requests import requests_of, tolerances_of
from edgebench.measure.prepare_targets import facts_of
from edgebench.measure.replicate.quality_checks import REDUCED_PARITY_LIMIT
from edgebench.measure.runner import Target
from edgebench.measure.worker_messages import Job
from edgebench.planning.cells import Cell
from edgebench.planning.own_models import workload_for_model
from edgebench.testing.models import chain, two_by_two
from tests.ab_test.pairs import MIB, case, measured, pair
from tests.reduced_models import int8, network, weights


def known() -> list[str]:
    return ["ort", "openvino", "null"]


def test_every_kind_is_told_by_its_looks(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.touch()
    assert parse_side([str(model)], known).model == str(model)
    assert parse_side(["precision=int8-static"], known).sets == {"precision": "int8-static"}
    assert parse_side(["precision=fp32,threads=2"], known).sets == {
        "precision": "fp32",
        "threads": 2,
    }
    assert parse_side(["openvino"], known).backend == "openvino"
    assert parse_side(["mine.py:Mine"], known).backend == f"{Path.cwd()}/mine.py:Mine"
    assert parse_side(["onnxruntime==1.30.0"], known).pins == ("onnxruntime==1.30.0",)
    assert parse_side(["onnxruntime==1.30.0, numpy==2.1.0"], known).pins == (
        "numpy==2.1.0",
        "onnxruntime==1.30.0",
    )
    assert parse_side(["git:main"], known).revision == "main"
    assert parse_side([sys.executable], known).python == str(Path(sys.executable).absolute())
    assert parse_side([sys.prefix], known).python == str(Path(sys.prefix) / "bin" / "python")


def test_specifications_add_up() -> None:
    side = parse_side(["openvino", "precision=fp32", "threads=1"], known)
    assert (side.backend, side.sets) == ("openvino", {"precision": "fp32", "threads": 1})
    assert side.text == "openvino precision=fp32 threads=1"
    pins = parse_side(["onnxruntime==1.30.0", "numpy==2.1.0", "onnxruntime==1.30.0"], known).pins
    assert pins == ("numpy==2.1.0", "onnxruntime==1.30.0")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["opnvino"], "did you mean 'openvino'"),
        (["nothing at all"], "cannot be compared"),
        ([""], "cannot be compared"),
        (["missing.onnx"], "no model file missing.onnx"),
        (["git:"], "names no revision"),
        (["ort", "openvino"], "says backend twice"),
        (["threads=1", "threads=2"], "says threads twice"),
        (["onnxruntime==1.30.0", "onnxruntime==1.32.0"], "says onnxruntime twice"),
        (["onnxruntime==1.30.0,onnxruntime==1.32.0"], "says onnxruntime twice"),
        (["onnxruntime==1.30.0", sys.executable], "who installs them"),
        (["x" * 5000], "cannot be compared"),  # no file system takes such a name
        (["a\0b"], "cannot be compared"),
        (["x" * 5000 + ".onnx"], "no model file"),
    ],
)
def test_a_wrong_spec_is_one_clear_error(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_side(texts, known)


def test_an_unknown_specification_lists_the_kinds() -> None:
    with pytest.raises(UsageError) as caught:
        parse_side(["xyzzy"], known)
    assert all(kind in caught.value.fix for kind in KINDS)


# A/B cells


def request(tmp_path: Path, base: list[str], head: list[str]) -> Request:
    model = str(two_by_two().write(tmp_path).path)
    return Request(workloads=[], base=parse_side([model, *base]), head=parse_side(head))


def test_head_is_base_with_what_head_says_changed(tmp_path: Path) -> None:
    [ab_cell] = make_ab_cells(request(tmp_path, ["null"], ["ort"]), tmp_path)
    assert "/null->ort/" in ab_cell.case.cell
    assert ab_cell.case.cell.endswith("/single_stream")
    assert ab_cell.arms is not None
    assert ab_cell.arms["base"].job.model_sha256 == ab_cell.arms["head"].job.model_sha256
    assert ab_cell.arms["head"].job.options == {"threads": 1}


def own(tmp_path: Path, base: Any, head: Any, **more: Any) -> ABCell:
    """The A/B cell of two model files."""
    for name, model in (("base", base), ("head", head)):
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    sides: dict[str, Any] = {name: parse_side([str(tmp_path / f"{name}.onnx")]) for name in SIDES}
    [ab_cell] = make_ab_cells(Request(workloads=[], **sides, **more), tmp_path / "cache")
    return ab_cell


def test_two_files_in_fp32_may_differ_by_either_ones_rounding(tmp_path: Path) -> None:
    ab_cell = own(tmp_path, network(weights()), network(weights()))
    assert ab_cell.case.parity_limit == 2e-3


def test_an_int8_file_and_a_float_one_may_differ_by_what_reduced_precision_does(
    tmp_path: Path,
) -> None:
    ab_cell = own(tmp_path, network(weights()), int8(weights()))
    assert ab_cell.allowed is not None
    assert ab_cell.case.parity_limit == REDUCED_PARITY_LIMIT
    assert ab_cell.allowed.of("y") >= REDUCED_PARITY_LIMIT
    assert ab_cell.allowed.of("label") == 0.5


def test_two_int8_files_may_differ_by_what_rounding_moves_either(tmp_path: Path) -> None:
    ab_cell = own(tmp_path, int8(weights()), int8(weights()))
    assert ab_cell.arms is not None
    assert ab_cell.allowed is not None
    moved = ab_cell.arms["head"].job.reference.parity.moved["y"]
    assert ab_cell.allowed.of("y") == pytest.approx(min(4 * moved, 0.5))


def test_a_users_limit_holds_between_the_sides_and_to_either_reference(tmp_path: Path) -> None:
    ab_cell = own(tmp_path, network(weights()), int8(weights()), parity=0.3)
    assert ab_cell.arms is not None
    assert ab_cell.case.parity_limit == 0.3
    assert {arm.job.parity_limit for arm in ab_cell.arms.values()} == {0.3}


def test_the_canary_allows_what_its_cell_does(tmp_path: Path) -> None:
    ab_cell = own(tmp_path, int8(weights()), int8(weights()))
    [canary] = ab_cells.canary_of([ab_cell])
    assert canary.allowed == ab_cell.allowed
    assert canary.case.parity_limit == ab_cell.case.parity_limit


def planned(
    base: list[str], head: list[str], **sets: list[Scalar]
) -> list[tuple[Variant, Variant]]:
    """The variants of either side, of a workload of three precisions."""
    workload = load_workloads([])["file-typing"]
    asked = Request(workloads=[workload], base=parse_side(base), head=parse_side(head), sets=sets)
    made = [
        cell_pair(asked, dict.fromkeys(SIDES, workload), point) for point in points(asked, workload)
    ]
    return [(found.base.variant, found.head.variant) for found in made]


def test_a_set_applies_to_the_side_that_does_not_name_the_axis() -> None:
    [(base, head)] = planned(["ort"], ["threads=1"], threads=[2])
    assert (base["threads"], head["threads"]) == (2, 1)
    [(base, head)] = planned(["ort"], ["precision=fp32"], precision=["int8-static"])
    assert (base["precision"], head["precision"]) == ("int8-static", "fp32")
    found = planned(["ort"], ["threads=4"], threads=[1, 2])
    assert [(base["threads"], head["threads"]) for base, head in found] == [(1, 4), (2, 4)]
    [(base, head)] = planned(["ort"], ["threads=2"])
    assert (base["threads"], head["threads"]) == (1, 2)


def test_a_set_that_neither_side_would_use_is_refused() -> None:
    with pytest.raises(UsageError, match="threads is given for both sides, and base"):
        planned(["ort", "threads=1"], ["precision=fp32"], threads=[2])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (["precision=fp32"], ("", "onnxruntime==1.30.0", "")),
        (["openvino"], ("openvino", "", "")),
        (["ort"], ("ort", "", "")),
        (["onnxruntime==1.32.0"], ("", "onnxruntime==1.32.0", "")),
        ([sys.executable], ("", "", sys.executable)),
    ],
)
def test_a_head_has_the_versions_of_base_unless_it_says_what_runs(
    head: list[str], expected: tuple[str, str, str]
) -> None:
    side = parse_side(head, known).with_defaults(parse_side(["onnxruntime==1.30.0"], known))
    assert (side.backend or "", "".join(side.pins), side.python or "") == expected


def test_the_versions_that_head_inherits_are_those_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def made(pins: tuple[str, ...], *_: object) -> Interpreter:
        asked.append(pins)
        return Interpreter(python=f"python with {pins[0]}")

    monkeypatch.setattr(runtime_environments, "for_pins", made)
    [ab_cell] = make_ab_cells(
        request(tmp_path, ["ort", "onnxruntime==1.30.0"], ["spinning=false"]), tmp_path
    )
    assert ab_cell.arms is not None
    assert {arm.interpreter.python for arm in ab_cell.arms.values()} == {
        "python with onnxruntime==1.30.0"
    }


@pytest.mark.parametrize(
    ("base", "head", "message"),
    [
        (["openvino==2026.4.0"], ["openvino"], "is for openvino, and base runs ort"),
        (["ort"], ["ncnn==1.0.1"], "is for ncnn, and head runs ort"),
        (["onnxruntime-genai==0.11.0"], ["ort"], "is for ort_genai, and base runs ort"),
        (["onnxruntime==1.30.0,numpy==2.1.0"], ["ort"], ""),
        (["edgebench.testing.faults:Slower", "openvino==2026.4.0"], ["ort"], ""),  # who knows
    ],
)
def test_versions_of_a_runtime_that_the_side_does_not_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: list[str], head: list[str], message: str
) -> None:
    """They would be installed, and the same thing compared with itself."""
    monkeypatch.setattr(runtime_environments, "for_pins", lambda *_: Interpreter())
    asked = request(tmp_path, base, head)
    if not message:
        assert make_ab_cells(asked, tmp_path)
        return
    with pytest.raises(UsageError, match=message) as caught:
        make_ab_cells(asked, tmp_path)
    assert "name the backend as well" in caught.value.fix


def test_with_a_workload_head_has_the_model_of_base(tmp_path: Path) -> None:
    workload = load_workloads([])["file-typing"]
    base = msgspec.structs.replace(request(tmp_path, ["ort"], ["openvino"]), workloads=[workload])
    [sides] = ab_cells._workloads(base, ab_cells._models(base, tmp_path))
    assert sides["head"].model == sides["base"].model != workload.model
    assert sides["head"].quality == workload.quality
    new = msgspec.structs.replace(base, base=parse_side(["ort"]), head=base.base)
    [sides] = ab_cells._workloads(new, ab_cells._models(new, tmp_path))
    assert sides["base"].model == workload.model != sides["head"].model


def arms_of(folder: Path, base: Path, head: Path, workloads: list[Workload]) -> list[Job]:
    sides = parse_side([str(base)]), parse_side([str(head)])
    [ab_cell] = make_ab_cells(Request(workloads=workloads, base=sides[0], head=sides[1]), folder)
    assert ab_cell.arms is not None, ab_cell.failure
    return [ab_cell.arms[side].job for side in SIDES]


def test_either_side_may_bring_its_own_model_of_a_workload(tmp_path: Path) -> None:
    old, new = (chain(length).write(tmp_path).path for length in (1, 2))
    jobs = arms_of(tmp_path / "cache", old, new, [workload_for_model(old, {})])
    assert [job.model_path for job in jobs] == [str(old), str(new)]


def with_weights_beside(folder: Path, factor: int) -> Path:
    """A model in two files, `m.onnx` and `w`; the factor is in the second alone."""
    import onnx

    folder.mkdir()
    model = onnx.load(str(chain(1).write(folder).path))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        scaled = (factor * values).astype(values.dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(scaled, tensor.name))
    path = folder / "m.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="w", size_threshold=0)
    return path


def test_models_that_differ_in_the_weights_beside_them_alone_are_two(tmp_path: Path) -> None:
    """Their files are equal to the byte: it would be the same model twice."""
    base, head = (with_weights_beside(tmp_path / f"{factor}", factor) for factor in (1, 2))
    assert base.read_bytes() == head.read_bytes()
    jobs = arms_of(tmp_path / "cache", base, head, [])
    assert [job.model_path for job in jobs] == [str(base), str(head)]
    assert jobs[0].model_sha256 != jobs[1].model_sha256


def test_points_that_are_the_same_cell_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite has it with one thread and with two; the backend knows no threads."""
    plain = tmp_path / "plain.py"
    plain.write_text(
        "import dataclasses\nfrom edgebench.testing.faults import FaultyBackend\n"
        "class Plain(FaultyBackend):\n"
        "    capabilities = dataclasses.replace(FaultyBackend.capabilities, options=())\n"
    )
    prepared: list[Cell] = []

    def targets(_: Request, cell_pairs: Sequence[CellPair], *__: Any) -> list[dict[Side, Target]]:
        prepared.extend(cell_pair.base for cell_pair in cell_pairs)
        return [
            dict.fromkeys(SIDES, Target(facts_of(cell_pair.base), status="failed"))
            for cell_pair in cell_pairs
        ]

    monkeypatch.setattr(ab_cells, "_targets", targets)
    side = parse_side([f"{plain}:Plain"])
    workload = load_workloads([])["image-classification"]
    make_ab_cells(Request(workloads=[workload], suite="quick", base=side, head=side), tmp_path)
    ids = [cell.id for cell in prepared]
    assert len(ids) == len(set(ids)) > 1


def test_a_head_that_cannot_run_is_a_cell_with_its_reason(tmp_path: Path) -> None:
    head = ["edgebench.testing.faults:NotInstalled"]
    [ab_cell] = make_ab_cells(request(tmp_path, ["ort"], head), tmp_path)
    assert ab_cell.failure is not None
    assert ab_cell.failure.message == "head cannot run: no-such-runtime is not installed"


def test_as_many_threads_as_cores_are_report_only(tmp_path: Path, monkeypatch: object) -> None:
    assert ab_cells._report_only(2, 2)
    assert not ab_cells._report_only(1, 2)
    assert not ab_cells._report_only(1, 1)
    assert not ab_cells._report_only(2, 8)
    assert not ab_cells._report_only(8, None)


# Environments and revisions


def test_an_environment_has_our_versions_of_all_but_what_is_asked_for() -> None:
    wanted = runtime_environments.requirements(["onnxruntime==1.30.0"], ["tokenizers"])
    assert "onnxruntime==1.30.0" in wanted
    assert sum(line.startswith("onnxruntime") for line in wanted) == 1
    assert any(line.startswith("numpy==") for line in wanted)
    other = runtime_environments.requirements(["onnxruntime-gpu==1.30.0"])
    assert not any(line.startswith("onnxruntime==") for line in other)
    beside = runtime_environments.requirements(["onnxruntime-genai==0.11.0"])
    assert any(line.startswith("onnxruntime==") for line in beside)  # ours, not the newest


def test_the_copy_of_the_source_measures_without_an_installation(tmp_path: Path) -> None:
    copy = runtime_environments.source_copy(tmp_path)
    assert runtime_environments.source_copy(tmp_path) == copy
    done = subprocess.run(
        [
            sys.executable, "-S", "-c",
            ("import sys; sys.path.append(sys.argv[1]); import edgebench.ab_test.pair_record, edgebench.backends; "
            "print(edgebench.ab_test.pair_record.__file__, edgebench.backends.__path__)"),
            next(path for path in sys.path if path.endswith("site-packages")),
        ],
        env={"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.count(str(copy)) == 2


def test_a_python_without_what_an_arm_needs_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UsageError, match="cannot run edgebench: ModuleNotFoundError"):
        runtime_environments.for_python(str(bare), tmp_path)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("no program", 0o755, "Exec format error"),
        ("", 0o644, "Permission denied"),
        ("#!/no/such/python\n", 0o755, "No such file"),
    ],
)
def test_a_python_that_does_not_start_is_refused(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    broken = tmp_path / "python"
    broken.write_text(content)
    broken.chmod(mode)
    with pytest.raises(UsageError, match=f"cannot be started: {message}"):
        runtime_environments.for_python(str(broken), tmp_path)


def test_an_environment_whose_python_is_gone_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(folder: Path, *_: object) -> None:
        built.append(folder)
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").unlink(missing_ok=True)
        (folder / "bin" / "python").symlink_to(tmp_path / "python")

    monkeypatch.setattr(runtime_environments, "_build", build)
    (tmp_path / "python").touch()
    for _ in range(2):
        runtime_environments.for_pins(["onnxruntime==1.30.0"], [], tmp_path)
    assert len(built) == 1
    (tmp_path / "python").unlink()
    runtime_environments.for_pins(["onnxruntime==1.30.0"], [], tmp_path)
    assert len(built) == 2


def test_a_cache_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "envs").touch()
    with pytest.raises(AssetError, match="envs") as caught:
        runtime_environments.for_pins(["onnxruntime==1.30.0"], [], tmp_path)
    assert "EDGEBENCH_CACHE" in caught.value.fix


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for number in (1, 2):
        (folder / "weights.txt").write_text(f"{number}\n")
        for command in (
            ["init", "--quiet"],
            ["add", "."],
            ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", f"{number}"],
        ):
            subprocess.run(["git", "-C", str(folder), *command], check=True)
    (folder / "weights.txt").write_text("uncommitted\n")
    return folder


def test_a_revision_is_built_once_and_without_uncommitted_work(
    repository: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = f"mkdir out && cp weights.txt out/m.onnx && echo x >> {log}"
    first = git_revisions.build_model("HEAD", command, "out/m.onnx", tmp_path, repository)
    again = git_revisions.build_model("HEAD", command, "out/m.onnx", tmp_path, repository)
    older = git_revisions.build_model("HEAD~1", command, "out/m.onnx", tmp_path, repository)
    assert (first.read_text(), older.read_text()) == ("2\n", "1\n")
    assert first == again
    assert log.read_text() == "x\nx\n"
    assert (repository / "weights.txt").read_text() == "uncommitted\n"
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, check=True
    )
    assert listed.stdout.count(b"\n") == 1


def test_weights_beside_the_model_of_a_revision_are_kept_with_it(
    repository: Path, tmp_path: Path
) -> None:
    made = with_weights_beside(tmp_path / "made", 1)
    command = f"cp -r {made.parent} out"
    kept = git_revisions.build_model("HEAD", command, "out/m.onnx", tmp_path, repository)
    assert kept.read_bytes() == made.read_bytes()
    assert kept.with_name("w").read_bytes() == made.with_name("w").read_bytes()


@pytest.mark.parametrize(
    ("revision", "command", "kind", "message"),
    [
        ("nowhere", "true", UsageError, "has no such revision"),
        ("--all", "true", UsageError, "has no such revision"),
        ("HEAD", "echo oh no >&2; exit 3", AssetError, "ended with code 3 .*: oh no"),
        ("HEAD", "true", AssetError, "left no file m.onnx"),
    ],
)
def test_a_build_that_fails_says_why(
    repository: Path,
    tmp_path: Path,
    revision: str,
    command: str,
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        git_revisions.build_model(revision, command, "m.onnx", tmp_path, repository)


def test_a_revision_without_a_command_says_what_is_missing(tmp_path: Path) -> None:
    asked = Request(workloads=[], base=parse_side(["git:main"]), head=parse_side(["git:HEAD"]))
    with pytest.raises(UsageError, match="needs the command that builds the model"):
        make_ab_cells(asked, tmp_path)


# Policies


POLICY = """
base: onnxruntime==1.30.0
head: [ort, threads=1]
budget: 2min
tolerances:
  latency: {tau: 0.02, delta: 0.08}
  latency.wall: {delta: 0.1}
  memory.peak: {tau: 0.1}
cells:
  - workload: file-typing
    set: {precision: [fp32, int8-dynamic]}
    quality: 0.83
  - workload: text-recognition
    tolerances: {latency: {tau: 0.01}}
limits: ["p99 <= 30 ms"]
"""


def policy(tmp_path: Path, text: str = POLICY) -> Path:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    return path


def test_a_policy_becomes_requests(tmp_path: Path) -> None:
    path = policy(tmp_path)
    first, second = requests_of(load_policy(path), path)
    assert first.base.pins == ("onnxruntime==1.30.0",)
    assert first.head.sets == {"threads": 1}
    assert first.sets == {"precision": ["fp32", "int8-dynamic"]}
    assert first.quality == 0.83
    assert (first.tolerances.cpu.tau, first.tolerances.cpu.delta) == (0.02, 0.08)
    assert (first.tolerances.wall.tau, first.tolerances.wall.delta) == (0.02, 0.1)
    assert first.tolerances.memory == 0.1
    assert second.tolerances.cpu.tau == 0.01
    [other] = requests_of(load_policy(policy(tmp_path, "suite: quick")), path, ["ort"], ["null"])
    assert (other.suite, other.base.backend, len(other.workloads)) == ("quick", "ort", 4)


def test_a_policy_without_a_side_says_so(tmp_path: Path) -> None:
    path = policy(tmp_path, "suite: quick\nbase: ort\n")
    with pytest.raises(UsageError, match="names no head"):
        requests_of(load_policy(path), path)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("bse: ort", "1:1", "did you mean 'base'"),
        ("budget: soon", "1:9", "not a duration"),
        ("suite: quick\ncells:\n  - workload: x", "3:3", "a suite is given as well"),
        ("tolerances:\n  latncy: {tau: 0.1}", "2:3", "latency"),
        ("tolerances:\n  quality: {delta: 0.1}", "2:13", "has no delta"),
        ("tolerances:\n  latency: {tau: 0.1, delta: 0.05}", "2:30", "must be above tau"),
        ("limits:\n  - p99 <= 30", "2:5", "needs a unit"),
        ("build: make", "1:8", "'artifact', which is missing"),
        ("inconclusive: maybe", "1:15", "not one of the choices"),
        ("cells:\n  - {workload: x, set: {threads: []}}", "2:34", "has no value"),
    ],
)
def test_a_bad_policy_names_the_place(tmp_path: Path, text: str, place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_policy(policy(tmp_path, text))
    assert f"gate.yaml:{place}" in str(caught.value)
    assert message in str(caught.value)


def test_a_delta_that_is_given_counts_as_it_is() -> None:
    near = tolerances_of({"latency": Allowance(tau=0.03, delta=0.05)})
    assert (near.cpu.tau, near.cpu.delta) == (0.03, 0.05)
    energy = tolerances_of({"energy.j_per_inference": Allowance(delta=0.04)}).energy
    assert (energy.tau, energy.delta) == (0.02, 0.04)


def test_memory_has_a_delta_of_its_own() -> None:
    peaks = (88, 95, 90, 93, 91)  # against 90; the upper bound of the change is 4.4 %
    found = [pair(n, head=measured(peak=peak * MIB, seed=n)) for n, peak in enumerate(peaks)]
    for delta, verdict in ((None, "inconclusive"), (0.06, "pass")):
        allowed = tolerances_of({"memory.peak": Allowance(tau=0.02, delta=delta)})
        [row] = [
            row
            for row in rows(case(tolerances=allowed), found, Rules(tests=2))
            if row.metric == MEMORY
        ]
        assert row.verdict == verdict


def test_a_cell_of_a_policy_changes_the_fields_that_it_names(tmp_path: Path) -> None:
    text = (
        "base: ort\nhead: 'null'\ntolerances:\n  latency: {tau: 0.01, delta: 0.03}\n"
        "  latency.cpu: {tau: 0.015}\ncells:\n  - workload: file-typing\n"
        "    tolerances: {latency: {tau: 0.02}}\n"
    )
    path = policy(tmp_path, text)
    [cell] = requests_of(load_policy(path), path)
    for clock in (cell.tolerances.cpu, cell.tolerances.wall):
        assert (clock.tau, clock.delta) == (0.02, 0.03)
    path = policy(tmp_path, text.replace("tau: 0.02", "tau: 0.04"))
    with pytest.raises(UsageError, match=r"delta \(3.0%\) must be above tau \(4.0%\)"):
        requests_of(load_policy(path), path)


def test_tolerances_default_to_the_design() -> None:
    allowed = tolerances_of({})
    assert (allowed.cpu.tau, allowed.cpu.delta) == (0.01, 0.05)
    wide = tolerances_of({"latency": Allowance(tau=0.04)})
    assert wide.cpu.delta == 0.08  # never below what counts as the same
    memory = tolerances_of({"memory.peak": Allowance(tau=0.2)})
    assert (memory.memory, memory.memory_delta) == (0.2, 0.4)
    assert tolerances_of({"model.size": Allowance(tau=0)}).size == 0


def test_a_report_names_the_commit_of_a_revision(repository: Path) -> None:
    commit = git_revisions.commit_of("HEAD~1", repository)
    sides = Request(
        workloads=[], base=parse_side(["git:HEAD~1", "ort"]), head=parse_side(["new.py:Ort"]),
        repository=str(repository),
    )  # fmt: skip
    assert ab_cells.side_text(sides, "base") == f"git:HEAD~1 ({commit[:12]}) ort"
    assert ab_cells.side_text(sides, "head") == "new.py:Ort"


@pytest.mark.parametrize(
    ("said", "tau", "budget_s"),
    [
        ("budget: 60\nparity: 0.05\ntolerances: {latency: {tau: 0.02, delta: 0.1}}", 0.02, 60),
        ("budget: 60s\nparity: 5%\ntolerances: {latency: {tau: 2%, delta: 10%}}", 0.02, 60),
        ("budget: 1.5\nparity: '0.05'\ntolerances: {latency: {tau: '0.02', delta: 10%}}", 0.02, 1.5),
    ],
)  # fmt: skip
def test_numbers_of_a_policy_are_as_on_the_command_line(
    tmp_path: Path, said: str, tau: float, budget_s: float
) -> None:
    path = tmp_path / "gate.yaml"
    model = two_by_two().write(tmp_path).path
    path.write_text(f"base: {model}\nhead: {model}\n{said}\n")
    policy = load_policy(path)
    [asked] = requests_of(policy, path)
    assert budget_s_of(policy) == budget_s
    assert asked.parity == 0.05
    assert (asked.tolerances.cpu.tau, asked.tolerances.cpu.delta) == (tau, 0.1)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("budget: 0", "1:9: budget"),
        ("budget: soon", "1:9: budget: 'soon' is not a duration"),
        ("parity: 100%", "1:9: parity: '100%' is not between"),
        ("parity: -0.1", "1:9: parity"),
        ("tolerances: {latency: {tau: 1.5}}", "1:29: tolerances.latency.tau"),
        ("tolerances: {latency: {tau: much}}", "1:29: tolerances.latency.tau: 'much' is not a share"),
        ("tolerances: {latency: {tau: 5%, delta: 1%}}", "delta: must be above tau"),
    ],
)  # fmt: skip
def test_a_number_of_a_policy_that_is_none_has_its_place(
    tmp_path: Path, said: str, place: str
) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(said)
    with pytest.raises(SpecError, match=re.escape(place)):
        load_policy(path)
