"""All benchmarks, one after the other: `python -m tests.perf`."""

from tests.perf import commands, energy_sampler, overhead, show_10k

if __name__ == "__main__":
    overhead.main()
    commands.main()
    show_10k.main()
    energy_sampler.main()
