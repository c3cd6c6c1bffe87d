"""Words the reasons of rows, replicates and reports: their code and data are facts, and only this file makes sentences of them.

A key is the code of a reason; where one code has several sentences, a dot and which of them follow. A sentence names the
data it needs: `{ns:us}` in microseconds, `{basis:note}` in brackets or not at all (`_FORMATS` lists these forms).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from string import Formatter
from typing import Any, NamedTuple

from edgebench.files.number_bounds import Value
from edgebench.record import Reason
from edgebench.units import format_bytes, format_ns, format_rate, format_si


class Words(NamedTuple):
    message: str
    fix: str = ""


_MORE_BUDGET = "raise --budget by {needed_s:.3g} s for each such row, or leave --budget out"
_NEAR_TIE = "several tokens at once may round otherwise and tip a near tie: try another precision"
_LESS_OF_IT = "leave it out, or ask for less of it"
_MORE_SAMPLES = "raise --slice or --replicates"
_INSIDE = "compute in the process that is measured"
_IN_RUN = "do the work in `run`; `prepare` and `outputs_of` may only make and take arrays"
_OWN_CLOCK = "a backend or a library that it loads replaces the functions of `time`: it must not"
_UNTRUSTED = "its latencies cannot be trusted"


def _too_fast(who: str) -> Words:
    return Words(
        "{query_ns:us} is less time than this machine needs: "
        + who
        + " does {amount:.3g} {what} in less than {least_ns:us}",
        "the backend must do the model's work inside `run`, for each query, and say where it computes and in which "
        "precision",
    )


REASONS: dict[str, Words] = {
    # What a runtime, a workload or a variant cannot do.
    "requirement_missing": Words("workload {workload} needs {packages}", "pip install {names}"),
    "unsupported_scenario.only_text": Words(
        "the task of {workload} knows only the scenario generate", "--scenario {scenarios}"
    ),
    "unsupported_scenario.no_text_task": Words(
        "the task of {workload} knows not the scenario generate", "--scenario {scenarios}"
    ),
    "unsupported_scenario.no_stream": Words(
        "{workload} declares no stream: how long a hop is, and which output is whose next state",
        "add `stream: {{hop_s: 0.032, state: {{input: output}}}}` to its workload file",
    ),
    "unsupported_scenario.no_text": Words("{backend} generates no text", "{able}"),
    "unsupported_format": Words("{backend} opens no {form} models", "{able}"),
    "unsupported_precision": Words("{backend} has no precision {precision!r}{hint}"),
    "unsupported_batch.fixed": Words(
        "the inputs of {workload} have fixed shapes: no axis is the batch",
        'write the word "batch" for that axis in the shapes',
    ),
    "unsupported_batch.stream": Words("a stream gives one hop at a time", "--set batch=1"),
    "unsupported_batch.multi_stream": Words(
        "{samples} samples of a query are no whole number of batches of {batch}",
        "--set samples_per_query={whole}, or another batch",
    ),
    "unsupported_shapes.made": Words(
        "several shapes are measured of the model with open axes: at batch 1, in fp32 or as it came",
        "leave --shape-sequence or this variant out",
    ),
    "unsupported_shapes.fixed": Words(
        "every input of {workload} has a fixed shape", "leave --shape-sequence out"
    ),
    "unsupported_option.unknown": Words("{backend} has no option {axis!r}"),
    "unsupported_option.value": Words("{backend}: {problem}"),
    "unsupported_request.draft": Words(
        "{backend}: it does not speculate by {kind}, and its decoder forgets no token here",
        "{able}",
    ),
    "unsupported_request.draft_confidence": Words(
        "{backend}: its own speculation has no {axis} here", "leave {axis} out, or {able}"
    ),
    "unsupported_request.keep": Words(
        "{backend}: turns cannot keep what was read: its decoder forgets no token here", "{able}"
    ),
    "unsupported_request.batch_of_drafts": Words(
        "speculation is of one sequence, not {batch}", "--set batch=1"
    ),
    "unsupported_request.batch_of_turns": Words(
        "a conversation is of one sequence, not {batch}", "--set batch=1"
    ),
    "unsupported_request.temperature": Words(
        "speculation is greedy, and the workload samples at temperature {temperature}",
        "leave lookup and draft out",
    ),
    # How a child process ended.
    "out_of_time.child": Words(
        "the budget left it {time_s:.3g} s, which ended during {phase}", "raise --budget"
    ),
    "timed_out": Words(
        "no sign of life for {limit_s:g} s during {phase}: killed",
        "raise --timeout if the work may take that long",
    ),
    "killed.hung_up": Words(
        "closed the pipe of its results during {phase} and did not end within {wait_s:g} s: killed by edgebench"
    ),
    "killed.by_others": Words("killed by SIGKILL during {phase}, not by edgebench"),
    "out_of_memory": Words("the worker ran out of memory"),
    "out_of_memory.preparation": Words("it ran out of memory"),
    "out_of_memory.child": Words("the kernel killed it for lack of memory during {phase}"),
    "crashed": Words("died of {signal} during {phase}{printed:after_colon}"),
    "exited": Words("exited with code {exit_code} during {phase}{printed:after_colon}"),
    "not_started": Words(
        "no process could be started: {error}",
        "close other programs, or raise the limits that `ulimit -a` shows",
    ),
    "garbled": Words(
        "it wrote what is no result to the pipe of its results during {phase}: {text}",
        "keep the runtime and the task from writing to descriptors that they did not open",
    ),
    # What a measurement met.
    "path_not_utf8": Words(
        "a path is not UTF-8, and a runtime cannot open it: {path}", "rename the file or folder"
    ),
    "nonsense": Words(
        "the worker told what cannot be: {field}: {problem}",
        "mend the backend, or its clock: docs/contract.md",
    ),
    "memory_budget_unavailable": Words(
        "the worker cannot be held to its memory budget: {error}",
        "run as a user who may write control groups, or leave memory_budget out",
    ),
    "does_not_fit": Words(
        "does not fit into {budget_bytes:bytes} (held to by {by}): {detail}", "raise memory_budget"
    ),
    "failed_within_budget": Words(
        "failed where it may allocate {budget_bytes:bytes} ({by}: no control group could be made), which may be why: {detail}",
        "raise memory_budget, or run as a user who may write control groups",
    ),
    "device_stopped": Words(
        "the worker was stopped and continued (SIGSTOP) while it measured",
        "leave workers alone: no debugger, job control or CPU limiter that stops processes",
    ),
    "device_suspended": Words(
        "the machine was suspended while it measured", "keep the machine awake during a run"
    ),
    "clock_disagrees.lag": Words(
        "the clock in the measured process went slower or faster than this machine's (clock_lag_ns of the replicate): "
        + _UNTRUSTED,
        _OWN_CLOCK,
    ),
    "device_descheduled": Words(
        "it was ready to run and had no core for {share:.0%} of its window, far longer than the others of its row",
        "end other programs during a run",
    ),
    "companion_failed": Words(
        "the companion {companion} does not run: {why}", "leave it out, or ask for less of it"
    ),
    "companion_failed.died": Words(
        "the companion {companion} ended while the model was measured: {why}", _LESS_OF_IT
    ),
    "companion_does_not_fit": Words(
        "the companion {companion} does not fit in memory: it needs {needs_bytes:bytes} ({needs}), "
        "{left_bytes:bytes} are available",
        _LESS_OF_IT,
    ),
    "companion_does_not_fit.beside": Words(
        "the model does not fit in memory beside {companions}: it needs {needs_bytes:bytes} (measured), "
        "{left_bytes:bytes} are available",
        "leave one out, or ask for less of it",
    ),
    "companion_failed.to_start": Words("the companion {companion} does not run: {why}"),
    # What a model and its companions fight for.
    "contested_cores": Words("cores ({share:.0%} of what is added is a wait for one)"),
    "contested_cores.pressure": Words(
        "cores (some task waits for one {company:.0%} of the time, {alone:.0%} alone; {source})"
    ),
    "contested_caches": Words(
        "caches and the memory behind them (a query takes {cpu_ratio:.2f}x the CPU time, and misses the last level of "
        "caches {misses_ratio:.2f}x as often)"
    ),
    "contested_bandwidth": Words(
        "the memory's bandwidth (the machine moves {company_per_s:bandwidth}, {alone_per_s:bandwidth} alone; a query takes "
        "{cpu_ratio:.2f}x the CPU time)"
    ),
    "contested_core_time": Words(
        "memory, caches or the clock (a query takes {cpu_ratio:.2f}x the CPU time; these are not told apart: {why})"
    ),
    "contested_core_time.no_misses": Words(
        "the memory's bandwidth or the clock (a query takes {cpu_ratio:.2f}x the CPU time, and misses the last level of "
        "caches {misses_ratio:.2f}x as often)"
    ),
    "contested_memory": Words(
        "room in memory (some task waits for it {company:.0%} of the time, {alone:.0%} alone; {source})"
    ),
    "contested_memory.faults": Words(
        "room in memory (a query reads {company:.2g} pages back from storage, {alone:.2g} alone)"
    ),
    "contested_io": Words(
        "storage (some task waits for it {company:.0%} of the time, {alone:.0%} alone; {source})"
    ),
    "contested_unknown": Words("unknown: the system counts no waits"),
    "contested_unknown.unexplained": Words("unknown: neither waits nor CPU time explain it"),
    "out_of_time.before": Words("there was no time before"),
    "out_of_time.model": Words("the budget ended while its model was made ready", "raise --budget"),
    "out_of_time.companion": Words(
        "the budget ended while {workload} was made ready beside it", "raise --budget"
    ),
    "conversion": Words("the converter gave no answer"),
    "preparation": Words("the preparation gave no answer"),
    "rate_not_sustained": Words(
        "{rate_per_s:g} queries a second are more than this deployment serves: {why}",
        "lower --rate",
    ),
    "rate_not_sustained.stream": Words(
        "{rate_per_s:g} queries a second are more than this deployment serves: {why}",
        "a faster variant, or more threads",
    ),
    "quality_cut": Words(
        "quality over {items} of {of} items: the budget ended the pass, which takes about {needed_s:.3g} s in all",
        _MORE_BUDGET,
    ),
    "quality_cut.none": Words(
        "no quality: the budget ended the pass, which takes about {needed_s:.3g} s in all",
        _MORE_BUDGET,
    ),
    "scaling_cut": Words(
        "test-time scaling over {done} of {asked} problems: the budget ended it",
        "raise --budget, or leave it out",
    ),
    "reuse_differs": Words(
        "with turns that are kept the answer is another one from token {token} on{apart:tie}",
        _NEAR_TIE,
    ),
    "speculation_differs": Words(
        "with speculation the answer is another one from token {token} on{apart:tie}", _NEAR_TIE
    ),
    "output_mismatch.random": Words(
        "the same inputs gave other outputs in one process, by {error:.2g} (limit {limit:.2g}, {basis}): the model is "
        "random by itself, or keeps a state that is not reset"
    ),
    "output_mismatch.checked": Words(
        "outputs differ from {against} by {error:.2g} (limit {limit:.2g}, {basis})",
        "where they are meant to, and the model is a file of your own: {option} says how far",
    ),
    "output_mismatch.hopeless": Words(
        "outputs differ from {against} by {error:.2g} (limit {limit:.2g}, {basis})"
    ),
    # Why a row is not ranked.
    "output_mismatch.replicate": Words(
        "outputs of replicate {replicate} differ from {against} by {error:.2g} (limit {limit:.2g}{basis:after_comma})"
    ),
    "quality_unknown": Words("quality is unknown: {why}"),
    "quality_unknown.cut": Words(
        "the quality is not known for all items: {metric} {value:.4g} covers {items} of {of} items, the budget ended "
        "before the others",
        "raise --budget",
    ),
    "quality_below_floor": Words("{metric} {value:.4g} is below the floor {floor:.4g}"),
    "quality_above_ceiling": Words(
        "{metric} {value:.4g} is above the ceiling {ceiling:.4g}{basis:note}"
    ),
    "quality_limit_missed": Words("misses a further limit: {limits}"),
    "quality_failed": Words("{why}"),
    "quality_failed.parity": Words(
        "{why}", "inputs that it tells apart: --range NAME=LOW,HIGH or --inputs FILE.npz"
    ),
    "not_deployable": Words("{why}"),
    "latency_unknown": Words("the latency is unknown: {why}"),
    "latency_unknown.few": Words("the latency is unknown: {why}", _MORE_SAMPLES),
    "latency_unknown.p99": Words("p99 is unknown: {why}"),
    "latency_unknown.p99.few": Words("p99 is unknown: {why}", _MORE_SAMPLES),
    "throughput_unknown": Words("the throughput is unknown: {why}"),
    "throughput_unknown.few": Words("the throughput is unknown: {why}", _MORE_SAMPLES),
    "limit_unknown": Words("{metric} is unknown, and the device's limit is {limit}"),
    "limit_missed": Words("{value} misses the device's limit {limit}"),
    "bound_not_kept": Words(
        "no rate keeps p99 within {bound_ns:ns}: at {rate_per_s:rate}/s it is {p99_ns:ns}",
        "raise --bound",
    ),
    "bound_untold": Words(
        "too few queries tell whether p99 is within {bound_ns:ns}: {why}; at {rate_per_s:rate}/s it is {p99_ns:ns}",
        _MORE_SAMPLES,
    ),
    "rate_search_cut": Words(
        "the run ended before a rate was found that keeps p99 within {bound_ns:ns}",
        "raise --budget",
    ),
    # Why a row cannot be true.
    "caching": Words(
        "new inputs took far longer than repeated ones: the backend caches results",
        "turn the cache off, since a deployment gets new inputs",
    ),
    "outputs_deferred": Words(
        "outputs were not complete when the measured call returned: reading them took far longer the first time than "
        "the second, or gave other values",
        "the backend must force and await its outputs in `run`",
    ),
    "faster_than_the_machine.accelerator": _too_fast("no accelerator"),
    "faster_than_the_machine.core": _too_fast("no {cores} core of its kind"),
    "faster_than_the_machine.cores": _too_fast("no {cores} cores of its kind"),
    "faster_than_the_machine.calibrated": _too_fast(
        "by what `edgebench calibrate` measured, it cannot"
    ),
    "reduced_precision": Words(
        "outputs differ from the fp32 reference by {error:.2g}, where rounding in fp32 moves them by {rounding:.1g} on "
        "this machine: it computes in less than fp32",
        "ask the runtime for fp32 (an option of its provider or plugin), or name the precision that runs",
    ),
    "moved_work.handling": Words(
        "the measured call does not do all the work of a query: {query_ns:us} measured, and {prepare_ns:us} to prepare "
        "an input and {read_ns:us} to read the answer, where copying both takes {copy_ns:us}",
        _IN_RUN,
    ),
    "moved_work.elsewhere": Words(
        "the measured call does not do all the work of a query: {query_ns:us} measured, {elsewhere_ns:us} at least "
        "wherever else it is called",
        _IN_RUN,
    ),
    "moved_work.pipeline": Words(
        "the measured call does not do all the work of a query: {query_ns:us} measured, {pipeline_ns:us} in the pipeline",
        _IN_RUN,
    ),
    "clock_disagrees": Words(
        "the window lasted {window_ns:s} by the clock that measured it and {other_ns:s} by another clock of the same "
        "machine: " + _UNTRUSTED,
        _OWN_CLOCK,
    ),
    "helper_process": Words(
        "{processes} more processes belong to it, which used {helpers_ns:ms} of CPU time (the measured one: {own_ns:ms}) "
        "and {helpers_bytes:mib}: its memory, CPU time and threads are only those of the measured process",
        _INSIDE,
    ),
    "threads_beyond_told": Words(
        "{busy:.2g} threads wanted a core throughout the window, but the backend says that {told} compute{told:of_verb}",
        "`effective` must report all threads that compute, and `threads` must limit them",
    ),
    "computed_elsewhere": Words(
        "the process wanted a core for {share:.0%} of its window, but the backend says that it computes on the CPU: "
        "another process or device did the work",
        _INSIDE + ", or name the device that computes",
    ),
    "precision_not_as_asked": Words(
        "{asked} was requested, but the session computes in {ran}",
        "the backend must refuse a precision that it cannot run",
    ),
    "threads_not_as_asked": Words(
        "threads={asked} was requested, but {ran} compute", "--set threads={ran} names what runs"
    ),
    "device_not_as_asked": Words(
        "device={asked} was requested, but the session computes on {ran}",
        "the backend must refuse a device that it cannot use",
    ),
    "latency_does_not_grow_with_work": Words(
        "{axis} {more} takes {times:.2f}x the time of {axis} {less}: the measured call may return before the work is "
        "done",
        "force the backend to complete its outputs before the call returns",
    ),
    "device_untold": Words(
        "it computed on {device} without declaring it: CPU time, which is judged, does not cover that device",
        "the backend's `Session.device` must name the device",
    ),
    # What an A/B and the gate say of themselves.
    "latency_not_judged": Words(
        "latency is not judged across jobs: a machine drifts by more than 5 % within minutes, and no statistic "
        "of two separate jobs can tell that from a regression; `edgebench ab` measures both in one job"
    ),
    "out_of_memory.both_arms": Words(
        "both arms do not fit in memory together: {first} takes {taken_bytes:mib}, {left_bytes:mib} are left"
    ),
    "output_mismatch.arm": Words(
        "outputs of {side} differ from {against} by {error:.2g} (limit {limit:.2g}{basis:after_comma})"
    ),
    "output_mismatch.other_outputs": Words(
        "{note}", "compare models of the same outputs: no limit makes these comparable"
    ),
    "output_mismatch.arms": Words(
        "outputs of head differ from those of base by {error:.2g} (limit {limit:.2g})",
        "if they are meant to: {option} says how far; or have labels judge them: --parity off, for files of your own "
        "with --task",
    ),
    "output_mismatch.arms_hopeless": Words(
        "outputs of head differ from those of base by {error:.2g} (limit {limit:.2g})",
        "no limit allows as much: give inputs that the models are made for (--inputs, --range); or have labels judge "
        "them: --parity off, for files of your own with --task",
    ),
    "canary": Words("the canary, base against itself, is not valid: {metric}: {why}"),
    "canary.few_pairs": Words(
        "the canary, base against itself, is not valid: {metric}: {why}", "raise --budget"
    ),
    "canary.noise": Words(
        "the canary, base against itself, is not valid: {metric}: {why}",
        "run on a quieter machine: nothing is comparable now",
    ),
    "report_only": Words("the latency of {cells} cells is shown and not judged", "--set threads=1"),
    "budget": Words(
        "the budget of {budget_s:g} s ended before every cell was decided", "raise --budget"
    ),
}

#: Forms of data beside those of Python.
_FORMATS: dict[str, Callable[[Any], str]] = {
    "ns": format_ns,
    "us": lambda ns: f"{ns / 1e3:.3g} us",
    "ms": lambda ns: f"{ns / 1e6:.3g} ms",
    "s": lambda ns: f"{ns / 1e9:.3g} s",
    "bytes": format_bytes,
    "mib": lambda size: f"{size / 2**20:.0f} MiB",
    "rate": format_rate,
    "bandwidth": lambda rate: format_si(rate, "B/s"),
    "note": lambda text: f" ({text})" if text else "",
    "after_comma": lambda text: f", {text}" if text else "",
    "after_colon": lambda text: f": {text}" if text else "",
    "of_verb": lambda count: "s" if count == 1 else "",
    "tie": lambda apart: (
        f", where the two tokens' logits are {apart:.3g} apart" if apart != "" else ""
    ),
}


class _Sentence(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        form = _FORMATS.get(format_spec)
        return str(super().format_field(value, format_spec)) if form is None else form(value)


def reason(key: str, /, **data: Value) -> Reason:
    """The reason of a key of `REASONS`, with its data and the words they make."""
    words, sentence = REASONS[key], _Sentence()
    return Reason(
        code=key.partition(".")[0],
        message=sentence.format(words.message, **data),
        fix=sentence.format(words.fix, **data),
        data={name: _plain(value) for name, value in data.items()},
    )


def _plain(value: Value) -> Value:
    """JSON knows no infinite numbers."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
