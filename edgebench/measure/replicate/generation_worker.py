"""Measures one replicate of a decoder in the worker, from the cold start to the quality pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgebench import record
from edgebench.generation import GenerationSession, Prompts, Room, Watched
from edgebench.measure.replicate import request_kinds, steps
from edgebench.measure.replicate.check_plan import CheckPlan, check_plan
from edgebench.measure.replicate.phases import looks_cached, peak_of, timed
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.measure.reruns import SCALING_CUT
from edgebench.measure.worker_messages import Done, GenerateJob, Job
from edgebench.probes import process_accounting, process_memory
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from edgebench.generation import Choose
    from edgebench.measure.replicate.quality_pass import QualityTime
    from edgebench.task import Attempts, GenerationTask

POOL = 8  # requests with prompts of their own
FIRST = 3  # tokens of the first request: enough to guess how long the others take
_PIPELINE = 3
MAX_COMPARED = 3  # prompts that are answered with speculation and without
CONVERSATIONS = 3  # of a pool
#: Tokens of a quality pass, as if each were written: 5,000 are read, a few hundred written.
JUDGED_TOKENS = 1_500
#: What it may take beyond the time-out.
QUALITY_S = 600.0
SCALING_S = 3600.0  # likewise: thousands of tokens are written


def measure(job: Job, link: ParentLink, started: str, runtime: steps.Runtime) -> Done:
    """The replicate, from the load of the model on."""
    job = steps.begun(job)
    start = _start(job, link, runtime)
    counted, requests = _measurement(start)
    replicate = _timed(start, requests, peak_of(start.session, job), started, runtime.import_ns)
    replicate = steps.with_window(replicate, counted)
    behind = _Behind(start, replicate, _digest(start.pool))
    unseen = _twice(behind)
    pipeline = _pipeline(behind) if start.plan.establishes else None
    assert replicate.memory is not None
    memory = steps.memory(start.session, replicate.memory, start.used)
    plain = _plain_decoding(behind)
    worst_case = _worst_case(behind)
    steps.lift_budget(job)
    checked = _output_check(behind)
    effective = steps.effective(behind, start.session) if job.full_quality else None
    replicate = msgspec.structs.replace(
        replicate,
        unseen=unseen,
        pipeline=pipeline,
        memory=memory,
        output_check=checked,
        effective=effective,
        worst_case=worst_case,
    )
    replicate = _equal_to_plain(replicate, plain)
    if job.full_quality:
        from edgebench.measure.replicate.quality_pass import QualityTime

        left = QualityTime.of_replicate(job.began_ns / 1e9, job.time_s, job.most_s)
        replicate = _with_quality(replicate, behind, left)
        replicate = _with_scaling(replicate, behind, left)
    link.phase("close of the session")
    start.session.close()
    return Done(replicate, behind.digest)


@dataclass(frozen=True)
class _Start:
    """A warm session of a decoder, and what its cold start took."""

    job: Job
    link: ParentLink
    asked: GenerateJob
    plan: CheckPlan
    session: GenerationSession
    task: GenerationTask
    attempts: Attempts | None
    pool: list[Prompts]
    ask: Callable[..., record.Request]
    choose: Choose | None
    each_s: float  # of a request
    used: steps.Used
    warmup: record.Warmup
    load_ns: int
    draft_bytes: int | None
    first_ns: int


def _start(job: Job, link: ParentLink, runtime: steps.Runtime) -> _Start:
    """The cold start, from the prompts to the end of the warm-up."""
    assert job.generate is not None
    asked = job.generate
    # The task reads the model's file for its tokens: before the load, so as not to be part of it.
    link.phase("preparation of prompts")
    task = _task(job)
    pool = _pool(task, asked, job.batch)
    attempts = task.attempts(
        asked.prompt_tokens
    )  # refuses what makes no sense before it is measured

    link.phase("load of the model")
    longest = max(*(len(prompts[0]) for prompts in pool), asked.prompt_tokens) + asked.new_tokens
    longest = max(longest, task.positions)
    backend, model = runtime.backend, steps.model_file(job)
    room = Room(width=job.batch, positions=longest)
    request_kinds.check_files(room, asked, Path(job.model_asset))
    opened, load_ns = timed(lambda: request_kinds.opened(backend, model, job.options, room, asked))
    session = opened.session
    uss_loaded = process_memory.uss_bytes()

    from edgebench.measure.replicate import generation_loops as requests

    choose = _choose(job, task)

    def ask(prompts: Prompts, new_tokens: int = asked.new_tokens) -> record.Request:
        request_kinds.before(session, prompts)
        request, _ = requests.timed_request(
            session, prompts, new_tokens, choose=choose, ends=task.ends
        )
        return request_kinds.with_session_facts(session, prompts, request)

    link.phase("first request")
    first = ask(pool[0], min(FIRST, asked.new_tokens))
    each_s = requests.expected_s(first, asked.new_tokens)
    left_s = (
        math.inf if job.most_s is None else job.most_s - (time.monotonic_ns() - job.began_ns) / 1e9
    )
    least = requests.least_warm_up(each_s, min(left_s, 1e9))
    link.phase("warm-up", job.warmup_s + 2 * each_s)
    limit_s = job.warmup_s if least == 2 else 0.0
    return _Start(
        job=job,
        link=link,
        asked=asked,
        plan=check_plan(job),
        session=session,
        task=task,
        attempts=attempts,
        pool=pool,
        ask=ask,
        choose=choose,
        each_s=each_s,
        warmup=requests.warm_up(
            ask, pool, limit_s, time.perf_counter_ns, least, whole=asked.turns or 1
        ),
        used=steps.Used(uss_loaded, process_memory.uss_bytes()),
        load_ns=load_ns,
        draft_bytes=opened.draft_bytes,
        first_ns=first.token_ns[0],
    )


def _measurement(start: _Start) -> tuple[steps.Counted, list[record.Request]]:
    from edgebench.measure.replicate import generation_loops, loops

    job = start.job
    limit_s = loops.MAX_SLICES * max(job.slice_s, job.min_window_s)
    start.link.phase("measurement", limit_s + start.each_s)
    account = process_accounting.Account()
    window, requests = generation_loops.one_after_the_other(
        start.ask,
        start.pool,
        slice_s=job.slice_s,
        target=job.target,
        max_samples=job.max_samples,
        min_window_s=job.min_window_s,
        whole=start.asked.turns or 1,
    )
    accounts = msgspec.structs.replace(account.closed(), raw_ns=window.raw_ns)
    return steps.Counted(window, accounts), requests


def _timed(
    start: _Start, requests: list[record.Request], peak: record.Memory, started: str, import_ns: int
) -> record.Replicate:
    generated = record.Generate(
        requests=requests,
        width=start.session.width,
        positions=start.session.positions,
        kv_cache_bytes=start.session.kv_cache_bytes(),
        temperature=start.task.temperature,
        fixed_length=not start.task.ends,
        draft_bytes=start.draft_bytes,
        draft_sha256=start.asked.draft.sha256 if start.asked.draft else "",
    )
    return record.Replicate(
        index=start.job.index,
        status="ok",
        started_utc=started,
        import_ns=import_ns,
        load_ns=start.load_ns,
        first_inference_ns=start.first_ns,
        warmup=start.warmup,
        generate=generated,
        memory=peak,
    )


@dataclass(frozen=True)
class _Behind:
    """Holds what the phases behind the window have in common: what was timed in that stands, should the budget
    end in one of these."""

    start: _Start
    replicate: record.Replicate
    digest: str

    def phase(self, name: str, limit_s: float = 0.0) -> None:
        self.start.link.phase(
            name, limit_s, Done(self.without_quality(self.replicate), self.digest)
        )

    @property
    def needed_s(self) -> float:
        """Returns what a whole quality pass is thought to take."""
        return JUDGED_TOKENS * _token_s(self.replicate)

    def without_quality(self, replicate: record.Replicate) -> record.Replicate:
        from edgebench.measure.replicate.quality_pass import without_quality

        job, task = self.start.job, self.start.task
        return without_quality(replicate, job.quality, task.metrics, len(task), self.needed_s)


def _output_check(behind: _Behind) -> record.OutputCheck:
    from edgebench.measure.replicate import quality_checks

    start = behind.start
    behind.phase("output check")
    return quality_checks.logits_check(start.session, start.pool[0], expected=start.job.expected)


def _with_quality(
    replicate: record.Replicate, behind: _Behind, left: QualityTime
) -> record.Replicate:
    """The replicate with its quality, over as many items as the budget leaves time for."""
    from edgebench.measure.replicate.quality_pass import judged, with_quality

    job, task = behind.start.job, behind.start.task
    so_far = Done(behind.without_quality(replicate), behind.digest)
    behind.start.link.phase("quality pass", QUALITY_S, so_far)
    values = task.judge(Watched(behind.start.session, left.check))
    items = len(task) if task.judged is None else task.judged
    quality = judged(values, task.metrics, job.quality, items, len(task))
    return with_quality(replicate, quality, behind.needed_s)


def _with_scaling(
    replicate: record.Replicate, behind: _Behind, left: QualityTime
) -> record.Replicate:
    """The replicate with the problems of test-time scaling, likewise; as it is where none are asked for."""
    from edgebench.measure.replicate.sampling_plan import answer_questions

    start, attempts = behind.start, behind.start.attempts
    if attempts is None:
        return replicate
    start.link.phase("test-time scaling", SCALING_S, Done(replicate, behind.digest))
    scaling = answer_questions(
        start.session, start.task, attempts, start.job.seed, check=left.check
    )
    done, asked = len(scaling.problems), len(attempts.questions)
    if done == asked:
        return msgspec.structs.replace(replicate, scaling=scaling)
    cut = reason(SCALING_CUT, done=done, asked=asked)
    return msgspec.structs.replace(
        replicate, scaling=scaling if done else None, reasons=[*replicate.reasons, cut]
    )


def _token_s(replicate: record.Replicate) -> float:
    """Returns the time of one written token, with a batch side by side."""
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
        reference=Path(job.reference.path) if job.reference.path else None,
    )
    return load_generation_task(job.task, context, (job.quality.metric, *job.quality.also))


def _prompts(task: GenerationTask, asked: GenerateJob, width: int, number: int) -> Prompts:
    """Returns the prompts of request `number`; each sequence has its own prompt."""
    places = range(number * width, (number + 1) * width)
    conversations = (
        task.conversation_of(asked.content, place) if asked.content else task.conversation(place)
        for place in places
    )
    return [task.encode(conversation, asked.prompt_tokens) for conversation in conversations]


def _pool(task: GenerationTask, asked: GenerateJob, width: int) -> list[Prompts]:
    """What is asked in the window, one after the other: prompts, or the turns of a few conversations."""
    if not asked.turns:
        return [_prompts(task, asked, width, number) for number in range(POOL)]
    pool: list[Prompts] = []
    for number in range(CONVERSATIONS):
        prompts = task.turns(number, asked.prompt_tokens, asked.new_tokens, asked.turns)
        pool += [request_kinds.Turn([tokens], turn) for turn, tokens in enumerate(prompts, start=1)]
    return pool


def _plain_decoding(behind: _Behind) -> record.PlainDecoding | None:
    """The same prompts as they were asked for and plainly, in turns: equal answers, and what it gains here."""
    start = behind.start
    compared = start.asked.turns or MAX_COMPARED
    behind.phase("comparison with plain decoding", 3 * compared * start.each_s)
    return request_kinds.compare_with_plain(
        start.session, start.pool[:compared], start.asked.new_tokens, start.task.ends
    )


def _worst_case(behind: _Behind) -> record.WorstCase | None:
    """The prompt whose answer takes longest of those found in the time that was given; None: it was not asked for.

    Answers end where the model ends them, at the tokens of a request at the latest; of conversations it is their last
    turn, with nothing kept.
    """
    from edgebench.measure.loads import worst_inputs, worst_prompts
    from edgebench.measure.replicate import generation_loops as requests

    start, job, asked = behind.start, behind.start.job, behind.start.asked
    if not job.worst_case_s:
        return None
    effort, clock = worst_prompts.EFFORT, time.perf_counter_ns
    least = 2 * (effort.least + worst_prompts.ITEMS + effort.confirming)
    limit_s = 4 * job.worst_case_s + least * start.each_s
    behind.phase("search for the slowest prompt", limit_s)

    def prompts_at(number: int) -> Prompts:
        if not asked.turns:
            return _prompts(start.task, asked, job.batch, number)
        turns = start.task.turns(number, asked.prompt_tokens, asked.new_tokens, asked.turns)
        return [turns[-1]]

    def serve(prompts: Prompts) -> worst_inputs.Timed:
        request_kinds.before(start.session, prompts)
        request, tokens = requests.timed_request(
            start.session,
            prompts,
            asked.new_tokens,
            choose=start.choose,
            ends=start.task.ends_of_text,
        )
        begin = clock()
        for place in range(job.batch):
            start.task.decode([step[place] for step in tokens])
        return worst_inputs.Timed(request.token_ns[-1], clock() - begin, len(tokens))

    items = [prompts_at(number) for number in range(worst_prompts.ITEMS)]
    return worst_inputs.search(
        serve,
        worst_prompts.PromptCandidates(items, prompts_at, start.session.vocabulary),
        job.worst_case_s,
        job.seed + 1000 * job.index,
        effort=effort,
        windows=worst_inputs.Windows(job.min_window_s, job.batch),
    )


def _equal_to_plain(
    replicate: record.Replicate, plain: record.PlainDecoding | None
) -> record.Replicate:
    """The replicate with what plain decoding answered; invalid where that is something else."""
    if plain is None or replicate.generate is None:
        return replicate
    replicate = msgspec.structs.replace(
        replicate, generate=msgspec.structs.replace(replicate.generate, plain=plain)
    )
    if plain.differs_at is None:
        return replicate
    kept = replicate.generate is not None and replicate.generate.requests[0].turn is not None
    differs = reason(
        "reuse_differs" if kept else "speculation_differs",
        token=plain.differs_at + 1,
        apart="" if plain.differs_by is None else plain.differs_by,
    )
    return msgspec.structs.replace(
        replicate, status="invalid", reasons=[*replicate.reasons, differs]
    )


def _choose(job: Job, task: GenerationTask) -> Choose | None:
    if task.temperature == 0:
        return None
    from edgebench.measure.replicate.token_sampling import Sampler

    return Sampler(job.seed + 1000 * job.index, task.temperature)


def _twice(behind: _Behind) -> record.Unseen:
    """Prompts that are given twice in a row: a runtime that keeps the beginning of one answers sooner."""
    from edgebench.measure.replicate import generation_loops as requests

    start, job = behind.start, behind.start.job
    count, beyond = start.plan.fresh_prompts, 1000 * (job.index + 1)
    behind.phase("measurement of prompts given twice", 2 * count * start.each_s)
    fresh = [_prompts(start.task, start.asked, job.batch, beyond + n) for n in range(count)]
    again_ns, first_ns = requests.first_and_again(lambda prompts: start.ask(prompts, 1), fresh)
    caching = looks_cached(again_ns, first_ns, max(first_ns))
    return record.Unseen(pool_ns=again_ns, unseen_ns=first_ns, caching=caching)


def _pipeline(behind: _Behind) -> record.Pipeline:
    """The application's way: template and tokenizer, the request, and the answer as text."""
    from edgebench.measure.replicate import generation_loops as requests

    start, task, batch = behind.start, behind.start.task, behind.start.job.batch
    behind.phase("measurement of the pipeline", _PIPELINE * start.each_s)
    clock = time.perf_counter_ns
    split = record.Pipeline(preprocess_ns=[], inference_ns=[], postprocess_ns=[], end_to_end_ns=[])
    for number in range(_PIPELINE):
        begin = clock()
        prompts = _prompts(task, start.asked, batch, 500 + number)
        ready = clock()
        _, tokens = requests.timed_request(
            start.session, prompts, start.asked.new_tokens, choose=start.choose, ends=task.ends
        )
        answered = clock()
        for place in range(batch):
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
