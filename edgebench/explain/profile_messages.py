"""Defines the messages of a parent and its profiling worker: a job, then turns, in JSON lines over two pipes."""

from __future__ import annotations

import msgspec

from edgebench.backend import Effective
from edgebench.explain.graph_facts import NodeFacts
from edgebench.files.number_bounds import Count, DurationNs
from edgebench.measure.worker_messages import Job, Phase
from edgebench.operator_times import Profile


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Open the deployment and its profiled twin, and warm both up."""

    job: Job


class Turn(msgspec.Struct, frozen=True, tag="turn"):
    """Run so many inferences, each once plain and once profiled."""

    runs: Count


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """Tell the profile, and end."""


class Warm(msgspec.Struct, frozen=True, tag="warm"):
    """The deployment is open; a run takes about so long."""

    typical_ns: DurationNs


class TurnDone(msgspec.Struct, frozen=True, tag="turn_done"):
    """What the plain runs of a turn took."""

    plain_ns: list[DurationNs]
    cpu_ns: list[DurationNs]  # CPU time of the process: all of it, where one thread computes
    profiled_ns: list[tuple[DurationNs, DurationNs]]  # of profiled runs: by the clock, and CPU time


class Profiled(msgspec.Struct, frozen=True, tag="profiled"):
    """The last word: what was found out about a deployment."""

    profile: Profile
    effective: Effective
    nodes: list[NodeFacts]  # of the model's file, where it is ONNX


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why there is no profile."""

    message: str
    fix: str = ""
    unsupported: bool = False  # the runtime cannot, as against: something went wrong


Ask = Begin | Turn | Finish
Answer = Warm | TurnDone | Profiled | Refused
Said = Answer | Phase

encode = msgspec.json.Encoder().encode
decode_ask = msgspec.json.Decoder(Ask).decode
decode_said = msgspec.json.Decoder(Said).decode
