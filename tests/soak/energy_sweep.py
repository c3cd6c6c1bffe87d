"""Every simulated case read by the real source in the sampler's own loop: minutes.

    python -m tests.soak.energy_sweep [CASES]

The default suite computes the samples of most cases; here each of them is really read. Prints, per source,
how often the truth lay inside the stated interval, and how wide that was against the true error.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgebench.energy.energy_window import SourceFacts
from edgebench.testing.power.bench import Clock, end_of, really_read
from edgebench.testing.power.cases import Summary, make_case, outcome, read_times
from edgebench.testing.power.meters import METERS, SimulatedMeter

CASES = 1000


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    failed = False
    print(f"{'source':16} {'inside':>7} {'error p95':>10} {'half-width':>11} {'ratio':>6}")
    for name, kind in METERS.items():
        with tempfile.TemporaryDirectory() as root:
            found = sweep(kind(Path(root)), cases)
        held = found.coverage >= 0.95 and found.width_ratio <= 3
        failed |= not held
        print(
            f"{name:16} {found.coverage:7.1%} {found.error_p95:10.3%} {found.half_width_median:11.3%} "
            f"{found.width_ratio:6.2f}{'' if held else '  MISSED'}",
            flush=True,
        )
    sys.exit(failed)


def sweep(meter: SimulatedMeter, cases: int) -> Summary:
    """All cases of one meter."""
    clock = Clock()
    source = meter.source(clock)
    source.open()
    source.close()
    facts = SourceFacts.of(source)
    outcomes = []
    for seed in range(cases):
        case = make_case(seed, facts, most_w=meter.most_w, irregular=meter.irregular)
        times_s = read_times(facts, end_of(case, facts), seed).tolist()
        samples = really_read(case, meter, source, clock, times_s)
        outcomes.append(outcome(case, facts, samples))
    return Summary.of(outcomes)


if __name__ == "__main__":
    main()
