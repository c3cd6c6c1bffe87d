"""What an arm showed of itself that makes its times no measure of its work."""

from __future__ import annotations

from edgebench.ab_test.pair_record import Pair, Side
from edgebench.backend import computes_itself
from edgebench.record import Reason


def fault_of(pair: Pair, side: Side) -> Reason | None:
    """Why an arm's times may not be compared, or None."""
    arm = pair.arm(side)
    if arm.completion is not None and arm.completion.incomplete:
        return Reason(
            code="outputs_deferred",
            message=f"{side} returned before its work was done: reading outputs took far longer the "
            "first time than the second, or gave other values",
            fix="the backend must force and await its outputs in `run`",
        )
    if arm.unseen is not None and arm.unseen.caching:
        return Reason(
            code="caching",
            message=f"{side} caches results: inputs it had never seen took far longer than those of "
            "its pool",
            fix="turn the cache off: a deployment sees new inputs",
        )
    told = arm.effective
    if told is not None and not pair.device and not computes_itself(told.device):
        return Reason(
            code="device_untold",
            message=f"{side} computed on {told.device} and did not say so beforehand: CPU time, which "
            "was to be judged, tells nothing of it",
            fix="the backend's `Session.device` must name the device",
        )
    return None
