"""A runtime's own speculation through edgebench against the runtime's own call, on SmolLM2 and OpenVINO GenAI.

    python -m tests.perf.llm_own_speculation [THREADS]

The same request in turns: token by token through edgebench's session, whose tokens cross a thread, and by one call of
`LLMPipeline.generate` without a streamer. The median ratio of whole requests may be 1.03. Fetches the model (98 MB) once.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from edgebench import assets, registry
from edgebench.backend import ModelFile
from edgebench.definitions.workload_loader import load_workloads
from edgebench.generation import Drafting, Room
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.measure.replicate.speculation import RuntimeSpeculation
from edgebench.task import TaskContext
from edgebench.tasks.generate import Generate

ROUNDS = 25
PROMPT_TOKENS, NEW_TOKENS = 128, 33
LIMIT = 1.03
_ROOM = Room(1, PROMPT_TOKENS + NEW_TOKENS)


def main() -> int:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    workload = load_workloads()["smollm2-chat"]
    path = assets.fetch([workload.model])[workload.model.sha256]
    backend = registry.load("openvino_genai")
    backend.import_runtime()
    with tempfile.TemporaryDirectory() as folder:
        file = ModelFile(path, "gguf", str(workload.model.sha256), "as-is", 1)
        model = backend.convert(file, {}, Path(folder))
        options = {"threads": threads}
        own: Any = backend.open_speculation(model, options, _ROOM, Drafting(4, lookup=3))
        session = RuntimeSpeculation(
            own, lambda: backend.open_generation(model, options, _ROOM), _ROOM
        )
        task = Generate(TaskContext(model_asset=path))
        prompt = task.encode(task.conversation_of("repeat", 0), PROMPT_TOKENS)
        ratios = [_through_us(session, prompt) / _own_call(own, prompt) for _ in range(ROUNDS + 1)]
        session.close()
    found = ratios[1:]  # the first warms both
    print(f"{median(found):.3f} of the runtime's own call ({min(found):.3f} to {max(found):.3f})")
    return int(median(found) > LIMIT)


def _through_us(session: RuntimeSpeculation, prompt: list[int]) -> float:
    request, _ = timed_request(session, [prompt], NEW_TOKENS)
    return float(request.token_ns[-1])


def _own_call(own: Any, prompt: list[int]) -> float:
    import numpy as np
    import openvino

    start = time.perf_counter_ns()
    tokens = openvino.Tensor(np.array([prompt], np.int64))
    own._pipeline.generate(tokens, own._request(NEW_TOKENS))
    return float(time.perf_counter_ns() - start)


if __name__ == "__main__":
    sys.exit(main())
