"""Runs models on items and keeps the outputs: `run_items.py MANIFEST`. Needs numpy and ONNX Runtime alone.

Executed on both machines, so that what differs is the processor's kernels and nothing else. MANIFEST is a JSON list of
[model, feeds, outputs]: one process for all, since starting Python takes an emulator longer than a small model. Outputs
that are there already are kept.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    for model, feeds, outputs in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if Path(outputs).exists():
            continue
        began_s = time.process_time()
        found = _outputs(model, feeds)
        partial = Path(outputs).with_suffix(".partial.npz")
        np.savez(partial, **found)
        partial.rename(outputs)
        print(f"{time.process_time() - began_s:6.1f} s of CPU  {outputs}", flush=True)


def _outputs(model: str, feeds: str) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    queries: dict[str, dict[str, Any]] = {}
    with np.load(feeds) as kept:
        for key in kept.files:
            item, _, name = key.partition("/")
            queries.setdefault(item, {})[name] = kept[key]
    found = {}
    for item, query in queries.items():
        for name, array in zip(names, session.run(names, query), strict=True):
            found[f"{item}/{name}"] = array
    return found


if __name__ == "__main__":
    main()
