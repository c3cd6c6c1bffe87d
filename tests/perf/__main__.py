"""All benchmarks, one after the other: `python -m tests.perf`."""

from tests.perf import (
    analysis_scale,
    commands,
    energy_sampler,
    llm_runtimes,
    overhead,
    report_scale,
    show_10k,
    time_to_decision,
)

if __name__ == "__main__":
    overhead.main()
    commands.main()
    show_10k.main()
    report_scale.main()
    analysis_scale.main()
    energy_sampler.main()
    llm_runtimes.main([])
    time_to_decision.main()
