"""Results of other tools: every file is given to every reader, as a user may name the wrong one."""

from __future__ import annotations

import json
from pathlib import Path

from edgebench.analysis.table import build_table
from edgebench.errors import StoreError
from edgebench.importers import reader, tools
from edgebench.importers._source import open_source
from edgebench.record import encode
from tests.importers.test_import_logs import (
    GROUPS,
    MARKDOWN,
    as_csv,
    bench_test,
    csv_of,
    openvino_run,
    optimum,
    sql_of,
    trtexec_failed,
    trtexec_run,
)

DATA = Path(__file__).parents[1] / "data" / "imports"
MAX_SEED_BYTES = 10_000
LAST = "[ INFO ] Throughput"

SEEDS = [
    *(
        file.read_bytes()
        for file in sorted(DATA.glob("*/*"))
        if file.stat().st_size <= MAX_SEED_BYTES and file.name != "counters.json"
    ),
    MARKDOWN.encode(),
    MARKDOWN.encode("utf-16"),
    f"$ ./llama-bench -m 'a.gguf'\n> {MARKDOWN}".encode(),
    json.dumps([bench_test(), bench_test(n_gen=128)]).encode(),
    csv_of().encode(),
    csv_of(delimiter=";").replace(".", ",").encode(),
    sql_of().encode(),
    (openvino_run() + openvino_run("yolo").replace(LAST, GROUPS + LAST)).encode(),
    f"+ benchmark_app -m a.onnx\n2026-05-01T10:00:00Z \x1b[32m{openvino_run()}".encode(),
    (trtexec_failed("a.onnx") + trtexec_run(options=" --fp16 --shapes=x:1x3")).encode(),
    json.dumps([{"latencyMs": 1.5}, {"latencyMs": 2.5}]).encode(),
    optimum(device="cuda", model_kwargs={"attn": "sdpa"}).encode(),
    as_csv(optimum()).encode(),
]


def read(data: bytes, folder: Path) -> None:
    """Reads with each reader; raises the last refusal where all refuse."""
    path = folder / "results.txt"
    path.write_bytes(data)
    refused: StoreError | None = None
    taken = 0
    for tool in tools():
        try:
            imports = reader(tool)(open_source(path, ["edgebench", "import", tool]))
        except StoreError as error:
            refused = error
            continue
        taken += 1
        for record in imports.records:
            encode(record)
        build_table(imports.records)
    if not taken and refused is not None:
        raise refused
