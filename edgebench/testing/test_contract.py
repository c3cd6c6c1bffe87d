"""The contract of a backend. Run it: `pytest --pyargs edgebench.testing --backend NAME`.

The first line of each test's docstring is the demand; docs/contract.md lists them.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    Unavailable,
)
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.processes.python_command import module_command
from edgebench.testing.models import Case, chain, convolution, parity_cases, two_by_two
from edgebench.testing.option_values import good_values
from edgebench.testing.plugin import USAGE

if TYPE_CHECKING:
    from edgebench.backend import Outputs

#: Largest ||answer - reference|| / ||reference|| by what the session says it executes. 3e-3 lets
#: TF32 pass, which runtimes count as fp32; a wrong answer is off by 1.
_TOLERANCE = {"fp32": 3e-3, "fp16": 2e-2, "bf16": 5e-2}
_COARSE = 0.25  # int8, mixed and whatever else a session reports

#: One answer must not take this many times as long as another for us to believe it was computed.
_CACHING = 3.0
#: Work grows by 64 and then by 512; latency must grow by this factor with the one or the other.
_ROWS = (256, 2048, 16384)
_GROWTH = 2.0
#: Differences below this are the clock's. The larger model needs 4 GFLOP: nothing does it in 10 us.
_NOISE_NS = 10_000

#: Profiled runs, and the share of their time that operators make up: of large matrix products most of it.
_PROFILED_RUNS = 5
_PROFILED_SHARE = 0.7

CASES = parity_cases()
Open = Callable[..., Session]


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return backend_named(request)


@pytest.fixture(scope="module")
def backend(name: str) -> Backend:
    return registry.load(name)


@pytest.fixture(scope="module")
def runtime(backend: Backend) -> Iterator[Backend]:
    """The backend with its runtime imported."""
    state = ready(backend)
    if state.builds_only:
        pytest.skip(f"{backend.name} cannot run anything here: {state.note}")
    if "onnx" not in backend.capabilities.formats and not _takes_onnx(backend):
        pytest.skip(
            f"the kit's models are ONNX; {backend.name} opens {backend.capabilities.formats}"
        )
    backend.import_runtime()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where converted models are kept from test to test: some converters take a second for each."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def open_(runtime: Backend, tmp_path: Path, converted: Path) -> Iterator[Open]:
    """Opens a case with options the way edgebench does: convert, then open.

    Where every ONNX file must be converted first, a converter may refuse a case that is not essential.
    """
    sessions: list[Session] = []

    def opener(case: Case, options: Mapping[str, Scalar] | None = None) -> Session:
        try:
            session = _open(runtime, _model(runtime, case, tmp_path), options or {}, converted)
        except UnsupportedError as error:
            if case.essential or "onnx" in runtime.capabilities.formats:
                raise
            pytest.skip(f"not convertible: {error.message}")
        sessions.append(session)
        return session

    yield opener
    for session in sessions:
        session.close()


# --- what the class says ------------------------------------------------------------------------


def test_has_a_name_and_a_summary(backend: Backend) -> None:
    """The class has a name of lower-case letters, digits and `._-`, and a summary."""
    assert isinstance(backend, Backend)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", backend.name), backend.name
    assert backend.summary.strip()


def test_capabilities_are_data(backend: Backend) -> None:
    """Capabilities are on the class, and name formats, precisions and kinds of device."""
    declared = type(backend).capabilities
    assert isinstance(declared, Capabilities)
    for names in (declared.formats, declared.precisions, declared.device_kinds):
        assert isinstance(names, tuple)
        assert names
        assert len(set(names)) == len(names)
        assert all(isinstance(entry, str) and entry for entry in names)


def test_options_are_declared_well(backend: Backend) -> None:
    """Options have unique names, help, and defaults and choices of their own type."""
    options = backend.capabilities.options
    assert all(isinstance(option, Option) for option in options)
    assert_declared_well(options, ("precision", "batch"))


def test_loading_imports_no_runtime(name: str, tmp_path: Path) -> None:
    """Loading the backend and asking for its availability imports no foreign module."""
    answer = _isolated("imports", name, tmp_path)
    assert answer["imports"] == []


def test_availability_has_evidence(backend: Backend) -> None:
    """Availability is Ready with a version, or Unavailable with a kind, a reason and a fix."""
    state = backend.availability()
    assert isinstance(state, Ready | Unavailable)
    if isinstance(state, Ready):
        assert state.version
    else:
        _assert_tells_the_fix(state.kind, state.reason, state.fix)


def test_missing_runtime_is_reported(name: str, tmp_path: Path) -> None:
    """Where no other package is installed, availability says so with a fix, and does not raise."""
    answer = _isolated("hidden", name, tmp_path)
    if answer["kind"] == "ready":
        assert answer["version"]
    else:
        _assert_tells_the_fix(answer["kind"], answer["reason"], answer["fix"])


def test_runtime_imports(runtime: Backend) -> None:
    """Importing the runtime returns its version, a second time as well."""
    assert runtime.import_runtime()
    assert runtime.import_runtime() == runtime.import_runtime()


# --- what a session answers ---------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.batch}")
def test_inputs_and_outputs_are_described(open_: Open, case: Case) -> None:
    """A session names the model's inputs and outputs in order, with data types and shapes."""
    session = open_(case)
    for described, expected in ((session.inputs, case.inputs), (session.outputs, case.outputs)):
        assert isinstance(described, tuple)
        assert [info.name for info in described] == [info.name for info in expected]
        assert [info.dtype for info in described] == [info.dtype for info in expected]
        for got, want in zip(described, expected, strict=True):
            if got.shape is not None and want.shape is not None:
                assert len(got.shape) == len(want.shape)
                assert all(a in (b, None) for a, b in zip(got.shape, want.shape, strict=True)), got


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.batch}")
def test_outputs_have_their_form(open_: Open, case: Case) -> None:
    """Outputs are arrays under their names, of the data type and shape the model gives."""
    outputs = _answer(open_(case), case, seed=1)
    assert set(outputs) == {info.name for info in case.outputs}
    for info in case.outputs:
        assert isinstance(outputs[info.name], np.ndarray)
        assert str(outputs[info.name].dtype) == info.dtype
        assert outputs[info.name].shape == info.shape


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.batch}")
def test_answers_are_right(open_: Open, case: Case) -> None:
    """Answers equal a reference in numpy: a convolution, batches, two inputs, integers, depth."""
    session = open_(case)
    for seed in range(3):
        _assert_right(session, case, seed, _answer(session, case, seed))


def test_answers_depend_on_the_input(open_: Open) -> None:
    """Different inputs get different answers."""
    case = convolution(1)
    session = open_(case)
    first, second = (_answer(session, case, seed)["logits"] for seed in (1, 2))
    assert relative_error(first, second) > 0.01


def test_repeated_runs_agree(open_: Open) -> None:
    """The same prepared input gets the same answer, run after run."""
    case = convolution(1)
    session = open_(case)
    prepared = session.prepare(case.feeds(1))
    first = _copies(session.outputs_of(prepared, session.run(prepared)))
    for _ in range(5):
        again = session.outputs_of(prepared, session.run(prepared))
        assert relative_error(again["logits"], first["logits"]) < 1e-4


def test_prepared_inputs_do_not_disturb_each_other(open_: Open) -> None:
    """A prepared input gives its own answer after others were prepared and run."""
    case = two_by_two()
    session = open_(case)
    alone = {seed: _copies(_answer(session, case, seed)) for seed in (1, 2, 3)}
    prepared = {seed: session.prepare(case.feeds(seed)) for seed in (1, 2, 3)}
    for seed in (2, 1, 3, 1, 2):
        outputs = session.outputs_of(prepared[seed], session.run(prepared[seed]))
        for output, expected in alone[seed].items():
            assert relative_error(outputs[output], expected) < 1e-4


def test_outputs_are_safe_to_keep(open_: Open) -> None:
    """Outputs keep their values after later runs, and after the session is closed."""
    case = convolution(1)
    session = open_(case)
    prepared = {seed: session.prepare(case.feeds(seed)) for seed in (1, 2)}
    kept = session.outputs_of(prepared[1], session.run(prepared[1]))
    copies = _copies(kept)
    for seed in (2, 1, 2):
        session.outputs_of(prepared[seed], session.run(prepared[seed]))
    session.prepare(case.feeds(3))
    np.testing.assert_array_equal(kept["logits"], copies["logits"])
    session.close()
    np.testing.assert_array_equal(kept["logits"], copies["logits"])


def test_concurrent_runs_give_the_answers_of_runs_in_turn(open_: Open) -> None:
    """Where a session says that runs may be concurrent, several threads at once get the right answers."""
    case = convolution(1)
    session = open_(case)
    if not session.concurrent:
        return
    prepared = [session.prepare(case.feeds(seed)) for seed in range(8)]

    def answer(index: int) -> dict[str, Any]:
        return _copies(session.outputs_of(prepared[index], session.run(prepared[index])))

    alone = [answer(index) for index in range(8)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(answer, [*range(8)] * 8))
    for index, outputs in enumerate(together):
        for output, expected in alone[index % 8].items():
            assert relative_error(outputs[output], expected) < 1e-4


# --- what a latency means -----------------------------------------------------------------------


def test_latency_grows_with_work(open_: Open) -> None:
    """A run takes longer where there is more to compute."""

    def complaint() -> str:
        few_ns = _fastest_ns(open_, chain(4), runs=12)
        many_ns = []
        for rows in _ROWS:  # a runtime whose calls are slow in themselves needs many
            many_ns.append(_fastest_ns(open_, chain(rows), runs=4))
            if many_ns[-1] > max(_GROWTH * few_ns, few_ns + _NOISE_NS):
                return ""
        return (
            f"4 rows take {few_ns} ns, {_ROWS} rows {many_ns} ns: run() returns before the "
            "work is done, or nothing is computed"
        )

    _holds_once(complaint)


def test_runs_return_when_the_work_is_done(open_: Open) -> None:
    """Reading outputs takes no longer right after a run than some time later."""
    case = chain(1024)
    session = open_(case)
    prepared = session.prepare(case.feeds(0))
    _read_ns(session, prepared, wait_s=0)

    def complaint() -> str:
        whole_ns, at_once_ns, later_ns = [], [], []
        for _ in range(5):
            whole, at_once = _read_ns(session, prepared, wait_s=0)
            whole_ns.append(whole)
            at_once_ns.append(at_once)
            later_ns.append(_read_ns(session, prepared, wait_s=5e-9 * whole)[1])
        if median(at_once_ns) < median(later_ns) + max(median(whole_ns) / 4, _NOISE_NS):
            return ""
        return f"reading takes {at_once_ns} ns at once, {later_ns} ns later"

    _holds_once(complaint)


def test_seen_inputs_are_not_answered_faster(open_: Open) -> None:
    """An input given before takes as long as a new one: nothing answers from a cache."""
    case = chain(512)
    session = open_(case)
    seen = session.prepare(case.feeds(0))
    seeds = count(1)
    for _ in range(2):
        _timed_ns(session, seen)

    def complaint() -> str:
        new_ns, seen_ns = [], []
        for seed in islice(seeds, 5):
            new_ns.append(_timed_ns(session, session.prepare(case.feeds(seed))))
            seen_ns.append(_timed_ns(session, seen))
        if median(new_ns) < max(_CACHING * median(seen_ns), median(seen_ns) + _NOISE_NS):
            return ""
        return f"new inputs take {new_ns} ns, a seen one {seen_ns} ns"

    _holds_once(complaint)


# --- what a profiler tells --------------------------------------------------------------------------


def test_profiles_sum_to_their_runs(open_: Open) -> None:
    """Operators name nodes of the file, have a time for every run, and sum to most of it and no more."""
    case = chain(512)
    session = open_(case)
    if _refuses_to_profile(session):
        return
    known = _node_names(case)

    def complaint() -> str:
        profile = session.profile([case.feeds(seed) for seed in range(3)], _PROFILED_RUNS)
        assert profile.operators
        assert profile.source
        assert len(profile.runs_ns) == _PROFILED_RUNS
        assert {len(each.times_ns) for each in profile.operators} == {_PROFILED_RUNS}
        named = {name for each in profile.operators for name in each.nodes or ()}
        assert named <= known, f"the file has no nodes {sorted(named - known)}"
        sums = [sum(times) for times in zip(*(o.times_ns for o in profile.operators), strict=True)]
        if sum(sums) < _PROFILED_SHARE * sum(profile.runs_ns):
            return f"operators sum to {sums} ns, the runs took {profile.runs_ns} ns"
        over = [s for s, run in zip(sums, profile.runs_ns, strict=True) if s > 1.02 * run]
        return f"operators sum to more than their run: {over} ns" if over else ""

    _holds_once(complaint)


def test_profiling_changes_no_answer(open_: Open) -> None:
    """A profiled run gives the answer of a run that is not profiled, and leaves the session as it was."""
    case = convolution(1)
    session = open_(case)
    if _refuses_to_profile(session):
        return
    before = _copies(_answer(session, case, seed=1))
    profiler = session.profiler()
    for seed in range(profiler.warm_up + 2):
        _assert_right(session, case, seed, profiler.run(case.feeds(seed)))
    profiler.finish()
    after = _answer(session, case, seed=1)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


# --- what a session says of itself --------------------------------------------------------------


def test_effective_facts_are_complete(open_: Open, runtime: Backend) -> None:
    """Effective facts name device (as `device` does), runtime, inputs, outputs, and every declared option."""
    session = open_(convolution(1))
    facts = session.effective()
    assert isinstance(facts, Effective)
    assert facts.device
    assert session.device() == facts.device
    assert facts.runtime
    assert facts.inputs == session.inputs
    assert facts.outputs == session.outputs
    assert facts.threads is None or facts.threads >= 1
    assert facts.precision != "", "unknown is None"
    for counts in (facts.providers, facts.compute_nodes, facts.weight_bytes):
        assert counts is None or all(count >= 0 for count in counts.values())
    untold = [
        option.name for option in runtime.capabilities.options if not _tells(facts, option.name)
    ]
    assert not untold, f"effective().options does not tell {untold}; None where it is not known"
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Effective) == facts


def test_precision_is_as_asked(open_: Open) -> None:
    """A model opened as fp32 runs as fp32, or the session does not know."""
    assert open_(convolution(1)).effective().precision in ("fp32", None)


def test_options_take_effect_or_are_refused(open_: Open, runtime: Backend) -> None:
    """Each declared value of an option is reported back as effective, or refused."""
    wrong = []
    for option, value, session in _with_each_option(runtime, open_):
        told = reported(session.effective(), option.name)
        if told is not None and told != value:
            wrong.append(f"{option.name}={value!r} was accepted, effective is {told!r}")
    assert not wrong, "\n".join(wrong)


def test_answers_are_right_with_every_option(open_: Open, runtime: Backend) -> None:
    """Answers stay right with each declared value of an option that is not refused."""
    case = convolution(1)
    for _, _, session in _with_each_option(runtime, open_):
        for seed in range(2):
            _assert_right(session, case, seed, _answer(session, case, seed))


def test_arena_is_bytes_or_unknown(open_: Open) -> None:
    """The allocator's size is a whole number of bytes, or None where the runtime does not tell."""
    case = convolution(1)
    session = open_(case)
    _answer(session, case, seed=0)
    size = session.arena_bytes()
    assert size is None or (type(size) is int and size >= 0)


# --- what is refused ----------------------------------------------------------------------------


def test_unknown_options_are_refused(open_: Open) -> None:
    """An option that is not declared raises UnsupportedError."""
    with pytest.raises(UnsupportedError):
        open_(convolution(1), {"no_such_option": 1})


def test_values_outside_the_declaration_are_refused(open_: Open, runtime: Backend) -> None:
    """A value of the wrong type, below the minimum or not among the choices: UnsupportedError."""
    accepted = []
    for option in runtime.capabilities.options:
        for value in _bad_values(option):
            try:
                open_(convolution(1), {option.name: value}).effective()
            except UnsupportedError:
                continue
            accepted.append(f"{option.name}={value!r}")
    assert not accepted


def test_unknown_precision_is_refused(runtime: Backend, tmp_path: Path) -> None:
    """A precision that is not declared raises UnsupportedError."""
    model = replace(_model(runtime, convolution(1), tmp_path), precision="no-such-precision")
    _assert_refused(runtime, model, tmp_path)


def test_unknown_format_is_refused(runtime: Backend, tmp_path: Path) -> None:
    """A model format that is not declared raises UnsupportedError."""
    model = replace(_model(runtime, convolution(1), tmp_path), format="no-such-format")
    _assert_refused(runtime, model, tmp_path)


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated"])
def test_broken_model_is_refused(runtime: Backend, tmp_path: Path, damage: str) -> None:
    """A file that is no model raises an EdgebenchError: UnsupportedError, or one that says it is damaged."""
    model = _model(runtime, convolution(1), tmp_path)
    content = model.path.read_bytes()
    broken = {
        "garbage": b"not a model\n" * 50,
        "empty": b"",
        "truncated": content[: -len(content) // 2],
    }
    model.path.write_bytes(broken[damage])
    with pytest.raises(EdgebenchError):
        _open(runtime, replace(model, sha256="0" * 64), {}, tmp_path / "cache").close()


# --- how sessions begin and end -----------------------------------------------------------------


def test_conversion_is_repeatable(runtime: Backend, tmp_path: Path) -> None:
    """Converting a model twice gives the same file, and leaves the original as it was."""
    model = _model(runtime, convolution(1), tmp_path)
    before = model.path.read_bytes()
    for option, value in [(None, None), *_values(runtime)]:
        options = {} if option is None or value is None else {option.name: value}
        if not runtime.converts(model, options):
            continue
        try:
            first = runtime.convert(model, options, tmp_path / "cache")
        except UnsupportedError:
            continue
        assert first.path.is_file()
        assert runtime.convert(model, options, tmp_path / "cache") == first
    assert model.path.read_bytes() == before


def test_sessions_close_and_open_again(open_: Open) -> None:
    """A session can be closed twice, and another one opened after it."""
    case = convolution(1)
    answers = []
    for _ in range(2):
        session = open_(case)
        answers.append(_answer(session, case, seed=1)["logits"])
        session.close()
        session.close()
    assert relative_error(*answers) < 1e-4


# --- helpers ------------------------------------------------------------------------------------


def backend_named(request: pytest.FixtureRequest) -> str:
    """What `--backend` says. Ends the session where it says nothing."""
    option = request.config.getoption("edgebench_backend", default=None)
    if not option:
        pytest.exit(USAGE, returncode=pytest.ExitCode.USAGE_ERROR)
    return str(option)


def ready(backend: Backend) -> Ready:
    """How a backend is available. A runtime that is not here fails, it does not skip."""
    state = backend.availability()
    if isinstance(state, Unavailable):
        pytest.fail(f"{state.kind}: {state.reason}; fix: {state.fix}", pytrace=False)
    return state


def assert_declared_well(options: Sequence[Option], axes: Sequence[str]) -> None:
    """`axes`: of a model, which no option may be called."""
    assert len({option.name for option in options}) == len(options)
    for option in options:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", option.name), option
        assert option.name not in axes, "a model axis, not an option"
        assert option.help.strip(), option
        assert option.default is None or option.accepts(option.default), option
        assert all(option.accepts(choice) for choice in option.choices), option
        assert option.minimum is None or option.type in ("int", "float"), option


def _model(backend: Backend, case: Case, folder: Path) -> ModelFile:
    model = case.write(folder)
    precision = "fp32" if "fp32" in backend.capabilities.precisions else "as-is"
    return replace(model, precision=precision)


def _takes_onnx(backend: Backend) -> bool:
    """Whether the backend opens ONNX files after converting them."""
    return backend.converts(ModelFile(Path("model.onnx"), "onnx", "0" * 64), {})


def _open(
    backend: Backend, model: ModelFile, options: Mapping[str, Scalar], cache: Path
) -> Session:
    if backend.converts(model, options):
        model = backend.convert(model, options, cache)
    return backend.open(model, options)


def _answer(session: Session, case: Case, seed: int) -> Outputs:
    prepared = session.prepare(case.feeds(seed))
    return session.outputs_of(prepared, session.run(prepared))


def _copies(outputs: Outputs) -> Outputs:
    return {name: np.array(array, copy=True) for name, array in outputs.items()}


def _assert_right(session: Session, case: Case, seed: int, outputs: Outputs) -> None:
    precision = session.effective().precision or "fp32"
    limit = _TOLERANCE.get(precision, _COARSE)
    for name, expected in case.reference(case.feeds(seed)).items():
        error = relative_error(outputs[name], expected)
        assert error <= limit, f"{case.name}: {name} is off by {error:.2g} of its norm"


def relative_error(answer: Any, expected: Any) -> float:
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return float("inf")
    wide = np.float64
    norm = np.linalg.norm(expected.astype(wide)) or 1.0
    return float(np.linalg.norm(answer.astype(wide) - expected.astype(wide)) / norm)


def _holds_once(complaint: Callable[[], str]) -> None:
    """Three attempts: a busy machine spoils one, a backend with the fault spoils all."""
    complaints = []
    for _ in range(3):
        complaints.append(complaint())
        if not complaints[-1]:
            return
    pytest.fail("\n".join(complaints), pytrace=False)


def _fastest_ns(open_: Open, case: Case, runs: int) -> int:
    """The fastest of `runs` runs, each on an input of its own, after one to warm up."""
    session = open_(case)
    _timed_ns(session, session.prepare(case.feeds(0)))
    fastest = min(_timed_ns(session, session.prepare(case.feeds(seed))) for seed in range(1, runs))
    session.close()
    return fastest


def _timed_ns(session: Session, prepared: Any) -> int:
    start_ns = time.perf_counter_ns()
    raw = session.run(prepared)
    end_ns = time.perf_counter_ns()
    session.outputs_of(prepared, raw)  # lets whatever still runs come to its end
    return end_ns - start_ns


def _read_ns(session: Session, prepared: Any, wait_s: float) -> tuple[int, int]:
    """Nanoseconds of a run with its reading, and of the reading alone, which begins after a wait."""
    start_ns = time.perf_counter_ns()
    raw = session.run(prepared)
    ran_ns = time.perf_counter_ns() - start_ns
    time.sleep(wait_s)
    start_ns = time.perf_counter_ns()
    session.outputs_of(prepared, raw)
    read_ns = time.perf_counter_ns() - start_ns
    return ran_ns + read_ns, read_ns


def _refuses_to_profile(session: Session) -> bool:
    """Whether its runtime tells no times of operators, with a reason."""
    refusal = ""
    try:
        session.profiler()
    except UnsupportedError as error:
        refusal = error.message
    return bool(refusal.strip())


def _node_names(case: Case) -> set[str]:
    """Names by which operators call the nodes of a case."""
    return {node.name or node.output[0] for node in case.nodes}


def _values(backend: Backend) -> list[tuple[Option, Scalar]]:
    """Each declared option with values that its declaration allows."""
    return [
        (option, value) for option in backend.capabilities.options for value in good_values(option)
    ]


def _bad_values(option: Option) -> list[Scalar]:
    bad: list[Scalar] = [1 if option.type in ("str", "bool") else "no-such-value"]
    if option.choices and option.type == "str":
        bad.append("no-such-choice")
    if option.minimum is not None:
        bad.append(int(option.minimum) - 1)
    return bad


def _with_each_option(backend: Backend, open_: Open) -> Iterator[tuple[Option, Scalar, Session]]:
    """A session for each declared value that is not refused, closed after use."""
    for option, value in _values(backend):
        try:
            session = open_(convolution(1), {option.name: value})
            session.effective()  # a runtime may find out only here that it cannot
        except UnsupportedError:
            continue
        yield option, value, session
        session.close()


def _tells(facts: Effective, option: str) -> bool:
    return option in ("threads", "telemetry") or option in facts.options


def reported(facts: Effective, option: str) -> Scalar | None:
    """Returns what effective facts say of an option; None where it is not known."""
    if option == "telemetry":
        return None if facts.telemetry is None else facts.telemetry == "on"
    return facts.threads if option == "threads" else facts.options.get(option)


def _assert_refused(backend: Backend, model: ModelFile, folder: Path) -> None:
    with pytest.raises(UnsupportedError):
        _open(backend, model, {}, folder / "cache").close()


def _assert_tells_the_fix(kind: str, reason: str, fix: str) -> None:
    assert kind in ("unknown", "not_installed", "broken")
    assert reason.strip()
    assert fix.strip()


def _isolated(mode: str, name: str, folder: Path) -> dict[str, Any]:
    """Returns what `edgebench.testing.isolated` prints, from a fresh interpreter with this one's path."""
    command = module_command("edgebench.testing.isolated", mode, registry.absolute(name))
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
