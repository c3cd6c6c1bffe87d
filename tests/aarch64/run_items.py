"""Runs a model on items and keeps the outputs: `run_items.py MODEL FEEDS OUTPUTS`. Needs numpy and ONNX Runtime alone.

Executed on both machines, so that what differs is the processor's kernels and nothing else.
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    import onnxruntime

    model, feeds, outputs = sys.argv[1:4]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    with np.load(feeds) as kept:
        items = range(1 + max(int(key.partition("/")[0]) for key in kept.files))
        queries = [
            {
                key.partition("/")[2]: kept[key]
                for key in kept.files
                if key.partition("/")[0] == str(item)
            }
            for item in items
        ]
    found = {}
    for item, query in enumerate(queries):
        for name, array in zip(names, session.run(names, query), strict=True):
            found[f"{item}/{name}"] = array
    np.savez(outputs, **found)


if __name__ == "__main__":
    main()
