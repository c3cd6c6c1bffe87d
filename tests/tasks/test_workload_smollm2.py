"""The workload smollm2-chat: its definition, and the real model's tokens and quality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgebench.backend import ModelFile
from edgebench.definitions.workload import Workload
from edgebench.definitions.workload_loader import load_workloads
from edgebench.generation import Room
from edgebench.planning.cells import plan
from edgebench.task import GenerationTask, TaskContext
from edgebench.tasks import load_generation_task, task_metrics

TOKENS = Path(__file__).parents[1] / "data" / "smollm2_tokens.json"

#: (precision, accuracy_level) -> perplexity on six Lee documents, and whether it is good enough.
#: llama.cpp gives 31.78. int8-dynamic, one scale for each output, is fast and wrong: a finding.
MEASURED = {
    ("as-is", 0): (31.628, True),
    ("as-is", 4): (31.663, True),
    ("fp32", 0): (31.628, True),
    ("w8", 4): (31.636, True),
    ("int8-dynamic", 0): (50.45, False),
}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workloads()["smollm2-chat"]


def test_limits_are_of_metrics_of_the_task_and_in_their_direction(workload: Workload) -> None:
    metrics = task_metrics(workload.task)
    for name, limit in {workload.quality.metric: workload.quality, **workload.quality.also}.items():
        wrong = limit.ceiling if metrics[name].better == "higher" else limit.floor
        assert wrong is None


def test_recall_judges_lists_and_needles_at_three_lengths() -> None:
    recall = load_workloads()["smollm2-recall"]
    judged = {recall.quality.metric, *recall.quality.also}
    asked = {name for name in task_metrics(recall.task) if name.startswith(("list_", "needle_"))}
    assert len(asked) == 7
    assert asked <= judged
    assert all(cell.unsupported is None for cell in plan([recall], ["ort"]))


def test_the_suite_reasoning_answers_problems_in_one_length() -> None:
    reasoning = load_workloads()["smollm2-reasoning"]
    cells = plan([reasoning], ["ort"], suite="reasoning")
    lengths = [int(cell.variant["prompt_tokens"]) for cell in cells]
    assert len(set(lengths)) >= 4, "three lengths leave a quadratic no residual"
    assert lengths.count(int(reasoning.options["scaling_prompt_tokens"])) == 1
    assert float(reasoning.options["temperature"]) > 0


def test_the_suite_has_its_cells_and_every_request_its_lengths(workload: Workload) -> None:
    cells = plan([workload], ["ort"], suite="llm")
    assert {cell.scenario for cell in cells} == {"generate"}
    assert all(cell.unsupported is None for cell in cells)
    assert {cell.variant["prompt_tokens"] for cell in cells} == {128}
    assert all(int(cell.variant["new_tokens"]) >= 2 for cell in cells)


@pytest.fixture(scope="module")
def task(workload: Workload) -> GenerationTask:
    from edgebench.assets import fetch

    paths = fetch([workload.model, *workload.data.values()])
    data = {name: paths[asset.sha256] for name, asset in workload.data.items()}
    context = TaskContext(
        data=data, options=workload.options, model_asset=paths[workload.model.sha256]
    )
    return load_generation_task(workload.task, context)


@pytest.mark.downloads
def test_tokens_are_those_of_llama_cpp(task: GenerationTask) -> None:
    from edgebench.models.llm.tokenizer import vocabulary_of

    assert task.context.model_asset is not None
    words = vocabulary_of(task.context.model_asset)
    for text, tokens in json.loads(TOKENS.read_text(encoding="utf-8"))["tokens"]:
        assert words.encode(text) == tokens, text


@pytest.mark.downloads
def test_llama_cpp_gives_these_tokens_today(task: GenerationTask) -> None:
    """Ours against the library itself, where it is installed: the stored ones and code of our own."""
    llama_cpp = pytest.importorskip("llama_cpp")
    from edgebench.models.llm.tokenizer import vocabulary_of

    assert task.context.model_asset is not None
    words = vocabulary_of(task.context.model_asset)
    model = llama_cpp.Llama(str(task.context.model_asset), vocab_only=True, verbose=False)
    stored = [text for text, _ in json.loads(TOKENS.read_text(encoding="utf-8"))["tokens"]]
    code = Path(__file__).read_text(encoding="utf-8")
    pieces = [code[start : start + 331] for start in range(0, len(code), 331)]
    spaces = ["a" + " " * count + "b\t" * count + "\n" * count for count in range(9)]
    numbers = [str(7**power) for power in range(1, 40, 3)]
    try:
        for text in [*stored, *pieces, *spaces, *numbers]:
            wanted = model.tokenize(text.encode(), add_bos=False, special=True)
            assert words.encode(text) == wanted, text
    finally:
        model.close()


@pytest.mark.downloads
@pytest.mark.parametrize("tokens", [48, 128, 512, 2000])
def test_prompts_have_exactly_the_tokens_asked_for(task: GenerationTask, tokens: int) -> None:
    prompts = [task.encode(task.conversation(index), tokens) for index in range(6)]
    assert {len(prompt) for prompt in prompts} == {tokens}
    assert len({tuple(prompt) for prompt in prompts}) == 6
    for prompt in prompts:
        text = task.decode(prompt)
        assert text.startswith("system\nYou are a helpful AI assistant")
        assert text.endswith("assistant\n")


@pytest.mark.downloads
@pytest.mark.slow
def test_the_reference_has_the_perplexity_of_other_runtimes(task: GenerationTask) -> None:
    from edgebench.models.llm.reference_decoder import reference_session

    assert task.context.model_asset is not None
    session = reference_session(task.context.model_asset, task.positions)
    assert task.judge(session)["perplexity"] == pytest.approx(31.63, abs=0.02)


@pytest.mark.downloads
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "level"), list(MEASURED))
def test_the_quality_is_as_measured(
    workload: Workload, task: GenerationTask, precision: str, level: int, tmp_path: Path
) -> None:
    from edgebench import registry

    backend = registry.load("ort")
    backend.import_runtime()
    assert task.context.model_asset is not None
    model = ModelFile(task.context.model_asset, "gguf", workload.model.sha256, precision=precision)
    options = {"threads": 2, "accuracy_level": level}
    model = backend.convert(model, options, tmp_path)
    session = backend.open_generation(model, options, Room(1, task.positions))
    perplexity = task.judge(session)["perplexity"]
    wanted, good = MEASURED[precision, level]
    assert perplexity == pytest.approx(wanted, rel=0.01)
    assert workload.quality.ceiling is not None
    assert (perplexity <= workload.quality.ceiling) == good


@pytest.mark.downloads
def test_tokens_are_those_of_the_llama_cpp_that_is_installed(task: GenerationTask) -> None:
    """The vocabulary alone, live: the stored tokens could be of another version."""
    pytest.importorskip("llama_cpp")
    from llama_cpp import Llama

    from edgebench.models.llm.tokenizer import vocabulary_of
    from edgebench.tasks._generation_items import PASSAGES

    assert task.context.model_asset is not None
    theirs = Llama(str(task.context.model_asset), vocab_only=True, verbose=False)
    ours = vocabulary_of(task.context.model_asset)
    stored = [text for text, _ in json.loads(TOKENS.read_text(encoding="utf-8"))["tokens"]]
    documents = task.context.data["documents"].read_text(encoding="utf-8").splitlines()[:20]
    for text in (*stored, *PASSAGES, *documents):
        found = theirs.tokenize(text.encode(), add_bos=False, special=True)
        assert ours.encode(text) == found, text
