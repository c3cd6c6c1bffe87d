"""Measures one replicate of a decoder in the worker, from the cold start to the quality pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgebench.backend import Backend, ModelFile
from edgebench.generation import GenerationSession, Prompts, Room, Watched
from edgebench.measure.replicate.check_plan import check_plan
from edgebench.measure.replicate.phases import looks_cached, peak_of, timed
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.measure.reruns import SCALING_CUT
from edgebench.measure.worker_messages import Done, GenerateJob, Job
from edgebench.probes import process_accounting, process_memory
from edgebench.record import Generate, Memory, Pipeline, Reason, Replicate, Request, Unseen

if TYPE_CHECKING:
    from edgebench.generation import Choose
    from edgebench.measure.replicate.quality_pass import QualityTime
    from edgebench.task import Attempts, GenerationTask

POOL = 8  # requests with prompts of their own
FIRST = 3  # tokens of the first request: enough to guess how long the others take
_PIPELINE = 3
#: Tokens of a quality pass, as if each were written: 5,000 are read, a few hundred written.
JUDGED_TOKENS = 1_500
#: What it may take beyond the time-out.
QUALITY_S = 600.0
SCALING_S = 3600.0  # likewise: thousands of tokens are written


def measure(
    job: Job, link: ParentLink, started: str, backend: Backend, import_ns: int, model: ModelFile
) -> Done:
    """The replicate; `backend` has its runtime imported, which took `import_ns`."""
    assert job.generate is not None
    began_s = time.monotonic()
    asked, plan = job.generate, check_plan(job)
    # The task reads the model's file for its tokens: before the load, so as not to be part of it.
    link.phase("preparation of prompts")
    task = _task(job)
    pool = [_prompts(task, asked, job.batch, number) for number in range(POOL)]
    attempts = task.attempts(
        asked.prompt_tokens
    )  # refuses what makes no sense before it is measured
    longest = max(asked.prompt_tokens + asked.new_tokens, task.positions)

    link.phase("load of the model")
    room = Room(width=job.batch, positions=longest)
    session, load_ns = timed(lambda: backend.open_generation(model, job.options, room))
    uss_loaded = process_memory.uss_bytes()

    from edgebench.measure.replicate import generation_loops as requests
    from edgebench.measure.replicate import loops, quality_checks
    from edgebench.measure.replicate.quality_pass import QualityTime, without_quality

    choose = _choose(job, task)

    def ask(prompts: Prompts, new_tokens: int = asked.new_tokens) -> Request:
        request, _ = requests.timed_request(
            session, prompts, new_tokens, choose=choose, ends=task.ends
        )
        return request

    link.phase("first request")
    first = ask(pool[0], min(FIRST, asked.new_tokens))
    each_s = requests.expected_s(first, asked.new_tokens)
    left_s = math.inf if job.most_s is None else job.most_s - (time.monotonic() - began_s)
    least = requests.least_warm_up(each_s, min(left_s, 1e9))
    link.phase("warm-up", job.warmup_s + 2 * each_s)
    limit_s = job.warmup_s if least == 2 else 0.0
    warmup = requests.warm_up(ask, pool, limit_s, time.perf_counter_ns, least)
    uss_warm = process_memory.uss_bytes()

    link.phase("measurement", loops.MAX_SLICES * max(job.slice_s, job.min_window_s) + each_s)
    account = process_accounting.Account()
    window, measured = requests.one_after_the_other(
        ask,
        pool,
        slice_s=job.slice_s,
        target=job.target,
        max_samples=job.max_samples,
        min_window_s=job.min_window_s,
    )
    counted = msgspec.structs.replace(account.closed(), raw_ns=window.raw_ns)
    peak = peak_of(session)
    generated = Generate(
        requests=measured,
        width=session.width,
        positions=session.positions,
        kv_cache_bytes=session.kv_cache_bytes(),
        temperature=task.temperature,
        fixed_length=not task.ends,
    )
    replicate = Replicate(
        index=job.index,
        status="ok",
        started_utc=started,
        import_ns=import_ns,
        load_ns=load_ns,
        first_inference_ns=first.token_ns[0],
        warmup=warmup,
        samples_ns=window.samples_ns,
        window_ns=window.window_ns,
        window_start_ns=window.start_ns,
        window_end_ns=window.end_ns,
        window_start_unix_ns=window.start_unix_ns,
        cpu_ns=window.cpu_ns,
        accounts=counted,
        involuntary_switches=window.involuntary_switches,
        stop=window.stop,
        generate=generated,
        memory=peak,
    )
    digest = _digest(pool)
    needed_s = JUDGED_TOKENS * _token_s(replicate)

    def phase(name: str, limit_s: float = 0.0) -> None:
        """Starts a phase behind the window: what was timed in that stands, should the budget end in this one."""
        without = without_quality(replicate, job.quality, task.metrics, len(task), needed_s)
        link.phase(name, limit_s, Done(without, digest))

    phase("measurement of prompts given twice", 2 * plan.fresh_prompts * each_s)
    unseen = _twice(task, asked, job, plan.fresh_prompts, lambda prompts: ask(prompts, 1))
    pipeline = None
    if plan.establishes:
        phase("measurement of the pipeline", _PIPELINE * each_s)
        pipeline = _pipeline(task, asked, job, session, choose)
    observed = Memory(
        peak_bytes=peak.peak_bytes,
        peak_source=peak.peak_source,
        uss_loaded_bytes=uss_loaded,
        uss_warm_bytes=uss_warm,
        uss_end_bytes=process_memory.uss_bytes(),
        arena_bytes=session.arena_bytes(),
        device_peak_bytes=peak.device_peak_bytes,
        device_source=peak.device_source,
    )
    phase("output check")
    checked = quality_checks.logits_check(session, pool[0], expected=job.expected)
    effective = None
    if job.full_quality:
        phase("reading of effective facts")
        effective = session.effective()
    replicate = msgspec.structs.replace(
        replicate,
        unseen=unseen,
        pipeline=pipeline,
        memory=observed,
        output_check=checked,
        effective=effective,
    )
    if job.full_quality:
        left = QualityTime.of_replicate(began_s, job.time_s, job.most_s)
        judging = _Judging(job, link, session, task, left, digest)
        replicate = _with_quality(replicate, judging)
        if attempts is not None:
            replicate = _with_scaling(replicate, attempts, judging)
    link.phase("close of the session")
    session.close()
    return Done(replicate, digest)


@dataclass(frozen=True)
class _Judging:
    """What the passes after the measured window share."""

    job: Job
    link: ParentLink
    session: GenerationSession
    task: GenerationTask
    left: QualityTime
    digest: str


def _with_quality(replicate: Replicate, judging: _Judging) -> Replicate:
    """The replicate with its quality, over as many items as the budget leaves time for."""
    from edgebench.measure.replicate.quality_pass import judged, with_quality, without_quality

    job, task = judging.job, judging.task
    needed_s = JUDGED_TOKENS * _token_s(replicate)
    without = without_quality(replicate, job.quality, task.metrics, len(task), needed_s)
    judging.link.phase("quality pass", QUALITY_S, Done(without, judging.digest))
    values = task.judge(Watched(judging.session, judging.left.check))
    items = len(task) if task.judged is None else task.judged
    quality = judged(values, task.metrics, job.quality, items, len(task))
    return with_quality(replicate, quality, needed_s)


def _with_scaling(replicate: Replicate, attempts: Attempts, judging: _Judging) -> Replicate:
    """The replicate with the problems of test-time scaling, likewise."""
    from edgebench.measure.replicate.sampling_plan import answered

    judging.link.phase("test-time scaling", SCALING_S, Done(replicate, judging.digest))
    scaling = answered(
        judging.session, judging.task, attempts, judging.job.seed, check=judging.left.check
    )
    done, asked = len(scaling.problems), len(attempts.questions)
    if done == asked:
        return msgspec.structs.replace(replicate, scaling=scaling)
    cut = Reason(
        code=SCALING_CUT,
        message=f"test-time scaling over {done} of {asked} problems: the budget ended it",
        fix="raise --budget, or leave it out",
    )
    return msgspec.structs.replace(
        replicate, scaling=scaling if done else None, reasons=[*replicate.reasons, cut]
    )


def _token_s(replicate: Replicate) -> float:
    """What a token that is written takes, a batch of them side by side."""
    requests = replicate.generate.requests if replicate.generate else []
    took = [request.token_ns[-1] / len(request.token_ns) for request in requests]
    return sum(took) / max(1, len(took)) / 1e9


def _task(job: Job) -> GenerationTask:
    from edgebench.task import TaskContext
    from edgebench.tasks import load_generation_task

    context = TaskContext(
        data={name: Path(path) for name, path in job.task_data.items()},
        options=job.task_options,
        model_asset=Path(job.model_asset),
        seed=job.seed,
        reference=Path(job.reference) if job.reference else None,
    )
    return load_generation_task(job.task, context, (job.quality.metric, *job.quality.also))


def _prompts(task: GenerationTask, asked: GenerateJob, width: int, number: int) -> Prompts:
    """Of request `number`: each sequence has a prompt of its own."""
    places = range(number * width, (number + 1) * width)
    return [task.encode(task.conversation(place), asked.prompt_tokens) for place in places]


def _choose(job: Job, task: GenerationTask) -> Choose | None:
    if task.temperature == 0:
        return None
    from edgebench.measure.replicate.token_sampling import Sampler

    return Sampler(job.seed + 1000 * job.index, task.temperature)


def _twice(
    task: GenerationTask,
    asked: GenerateJob,
    job: Job,
    count: int,
    ask: Callable[[Prompts], Request],
) -> Unseen:
    from edgebench.measure.replicate import generation_loops as requests

    beyond = 1000 * (job.index + 1)
    fresh = [_prompts(task, asked, job.batch, beyond + number) for number in range(count)]
    again_ns, first_ns = requests.first_and_again(ask, fresh)
    caching = looks_cached(again_ns, first_ns, max(first_ns))
    return Unseen(pool_ns=again_ns, unseen_ns=first_ns, caching=caching)


def _pipeline(
    task: GenerationTask,
    asked: GenerateJob,
    job: Job,
    session: GenerationSession,
    choose: Choose | None,
) -> Pipeline:
    """The application's way: template and tokenizer, the request, and the answer as text."""
    from edgebench.measure.replicate import generation_loops as requests

    clock = time.perf_counter_ns
    split = Pipeline(preprocess_ns=[], inference_ns=[], postprocess_ns=[], end_to_end_ns=[])
    for number in range(_PIPELINE):
        begin = clock()
        prompts = _prompts(task, asked, job.batch, 500 + number)
        ready = clock()
        _, tokens = requests.timed_request(
            session, prompts, asked.new_tokens, choose=choose, ends=task.ends
        )
        answered = clock()
        for place in range(job.batch):
            task.decode([step[place] for step in tokens])
        end = clock()
        split.preprocess_ns.append(ready - begin)
        split.inference_ns.append(answered - ready)
        split.postprocess_ns.append(end - answered)
        split.end_to_end_ns.append(end - begin)
    return split


def _digest(pool: Sequence[Prompts]) -> str:
    import hashlib

    return hashlib.sha256(repr([list(map(list, prompts)) for prompts in pool]).encode()).hexdigest()
