"""Times of a measured cell's operators for its record: what `edgebench run --profile` keeps."""

from __future__ import annotations

from statistics import median

from edgebench.calibration import Calibration
from edgebench.explain import describe_deployment, profile_runs
from edgebench.explain.profile_runs import Unmeasured
from edgebench.measure.runner import Settings
from edgebench.measure.worker_messages import Job
from edgebench.record import OperatorProfile, Reason

#: For the turns of one cell.
BUDGET_S = 2.0
NOT_PROFILED = "not_profiled"


def profile_of(
    job: Job, settings: Settings, calibration: Calibration | None
) -> OperatorProfile | Reason:
    """The operators of a deployment, or why it has none, from a fresh process."""
    if job.generate is not None:
        return Reason(code=NOT_PROFILED, message="decoders are not profiled")
    (found,) = profile_runs.profile_in_turns(
        [job], settings.time_out_s, budget_s=BUDGET_S, seed=settings.seed
    )
    if isinstance(found, Unmeasured):
        return Reason(code=NOT_PROFILED, message=found.reason.message, fix=found.reason.fix)
    named = describe_deployment.Named("", "", job.backend, {})
    told = describe_deployment.deployment(named, found, calibration)
    return OperatorProfile(
        source=told.source,
        runs=told.runs,
        run_ns=median([run for turn in found.plain_ns for run in turn]),
        profiled_ns=told.profiled_ns,
        operators_ns=told.operators_ns,
        operators=told.operators,
        left_out=len(found.profile.operators) - len(told.operators),
        notes=[note for note in told.notes if note not in found.effective.notes],
    )
