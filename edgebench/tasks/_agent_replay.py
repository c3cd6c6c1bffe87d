"""A recorded talk of an agent with its tools: answers and tool outputs of growing length, edgebench's own data.

Made from seeds that follow from the numbers of conversation and turn alone: no two are the same.
"""

from __future__ import annotations

import random

_TOOLS = ("list_files", "read_log", "search", "read_table", "run_tests")
_WORDS = ("pump", "valve", "sensor", "boiler", "meter", "relay", "panel", "motor", "filter", "tank")
_STATES = ("ok", "slow", "stuck", "off", "warm", "worn")
_TASK = "You keep a small plant running. Find out why the water is too warm, step by step."


def task(conversation: int) -> str:
    """What the agent is asked, and what it is told at first."""
    return f"{_TASK} (Case {conversation + 1}.)\n{tool_output(conversation, 1, 60)}"


def answer(conversation: int, turn: int, words: int) -> str:
    """What the agent said in a turn: it names the next tool and why."""
    draw = random.Random(f"answer {conversation} {turn}")
    said = [f"I call {draw.choice(_TOOLS)} next, because"]
    while len(" ".join(said).split()) < words:
        said.append(
            f"the {draw.choice(_WORDS)} {draw.randint(1, 40)} is {draw.choice(_STATES)} and"
        )
    return " ".join(said)


def tool_output(conversation: int, turn: int, words: int) -> str:
    """What the tool gave back: lines of a log."""
    draw = random.Random(f"tool {conversation} {turn}")
    lines = [f"{draw.choice(_TOOLS)}:"]
    while sum(len(line.split()) for line in lines) < words:
        number, at = draw.randint(1, 40), f"{draw.randint(0, 23):02}:{draw.randint(0, 59):02}"
        value = f"{draw.uniform(5, 95):.1f}"
        lines.append(f"{at} {draw.choice(_WORDS)} {number} {draw.choice(_STATES)} {value}")
    return "\n".join(lines)
