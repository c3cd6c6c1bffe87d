"""`edgebench explain`: why a deployment takes the time it takes, or where its numbers go wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgebench.cli.shared.options import (
    EXISTING_FILE,
    folders_option,
    format_option,
    model_input_options,
    refuse_beside,
    seed_option,
    sets_option,
    timeout_option,
)
from edgebench.errors import UsageError
from edgebench.text.plain_text import say

KEPT = ".json"  # an explanation that was kept, as `--format json` printed it


@click.command("explain")
@click.argument("what", required=False, metavar="[RESULT|WORKLOAD]")
@folders_option
@click.option("--model", type=EXISTING_FILE, help="Explain this model file, with generated inputs.")
@model_input_options("--model")
@click.option(
    "--workload", metavar="NAME", help="The workload to explain, if RESULT holds several."
)
@click.option(
    "--backend",
    metavar="NAME",
    help="The backend to explain.  [default: ort, or one that opens --model]",
)
@sets_option(
    "The variant to explain, such as precision=int8-static (repeatable).  [default: int8-static, if the workload has it]"
)
@click.option(
    "--against",
    metavar="PRECISION|AXIS=VALUE",
    help="The deployment to compare with, such as fp32 or backend=openvino; `none` for no comparison.  "
    "[default: fp32]",
)
@click.option(
    "--numeric",
    is_flag=True,
    help="Explain errors instead of time: the error that each layer adds by itself, how errors grow from layer "
    "to layer, and which layers do most damage.",
)
@click.option(
    "--reference",
    type=EXISTING_FILE,
    help="With --numeric: the ONNX model to compare with.  [default: the fp32 model]",
)
@click.option(
    "--limit",
    metavar="SHARE",
    help="With --numeric: largest error of a layer, such as 0.05.  [default: by the file's precision]",
)
@click.option(
    "--top",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Print this many operators.",
)
@timeout_option
@seed_option("turns")
@format_option(("text", "json"), "explanation")
@click.pass_context
def command(context: click.Context, /, **params: Any) -> None:
    """Explain where the time of a deployment goes, operator by operator.

    A WORKLOAD or --model is profiled in fresh processes, in turns with the deployment it is compared with. The
    output says which operators differ, what the runtime converts between them, and how long a mix of both should
    take. A RESULT, a file of `edgebench run`, is explained from what it recorded, without a runtime. A file that
    `--format json` wrote is printed again.

    \b
    Example:
      edgebench explain music-transcription --set precision=int8-static
    """
    from edgebench.files.json_lines import write_json

    if str(params["what"]).endswith(KEPT) and not params["numeric"]:
        refuse_beside(context, "an explanation that was kept", {"what", "form", "top"})
    found = _explain(params)
    if params["form"] == "json":
        write_json(found, sys.stdout)
    elif params["numeric"]:
        from edgebench.render.numeric_text import render as render_numbers

        render_numbers(found, params["top"], sys.stdout)
    else:
        from edgebench.render.explain_text import render

        render(found, params["top"], sys.stdout)


def _explain(params: dict[str, Any]) -> Any:
    from edgebench.api.explaining import explain_on_this_machine, explain_results
    from edgebench.explain.explanation import read_explanation

    what, model = params["what"], params["model"]
    if (what is None) == (model is None):
        raise UsageError(
            "name one thing to explain", "a WORKLOAD, a RESULT file, or --model FILE (one of them)"
        )
    if not params["numeric"] and (params["reference"] or params["limit"]):
        raise UsageError("--reference and --limit apply to --numeric only", "add --numeric")
    if what is not None and _is_result(what):
        if params["numeric"]:
            raise UsageError("a record keeps no tensors", "name the workload, or --model FILE")
        path = Path(what)
        return read_explanation(path) if path.suffix == KEPT else explain_results(path, params)
    return explain_on_this_machine(params, say)


def _is_result(what: str) -> bool:
    return what.endswith((".jsonl", KEPT)) or "/" in what or Path(what).is_dir()
