"""All benchmarks, one after the other: `python -m tests.perf`."""

from tests.perf import commands, llm_runtimes, overhead, show_10k

if __name__ == "__main__":
    overhead.main()
    commands.main()
    show_10k.main()
    llm_runtimes.main()
