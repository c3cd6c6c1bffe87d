"""The wording of what requests of text generation have beside their times: speculation and turns."""

from __future__ import annotations

from edgebench.analysis.table_types import Generate, Speculation, Turn
from edgebench.render.number_format import half_width
from edgebench.units import format_bytes, format_ns, format_times


def remarks(made: Generate) -> list[str]:
    """A line for speculation, and one for the turns of a conversation."""
    found = []
    if made.speculation is not None:
        found.append(_speculation(made.speculation))
    if made.turns:
        found.append(_turns(made.turns))
    return found


def _speculation(part: Speculation) -> str:
    """`speculation: 120 of 160 drafted tokens accepted (75 %), 2.6 tokens a step; 1.8x ±9% the speed of plain
    decoding`"""
    share = "" if part.acceptance is None else f" ({part.acceptance:.0%})"
    of = "" if part.drafted is None else f" of {part.drafted}"
    words = f"speculation: {part.accepted}{of} drafted tokens accepted{share}"
    if part.tokens_per_step is not None:
        words += f", {part.tokens_per_step:.2f} tokens a step"
    if part.gain is not None:
        width = half_width(part.gain, part.gain_low, part.gain_high)
        words += f"; {format_times(part.gain)}{width and f' {width}'} the speed of plain decoding"
    if part.draft_bytes is not None:
        words += f"; the draft takes {format_bytes(part.draft_bytes)}"
    return words


def _turns(turns: list[Turn]) -> str:
    """`TTFT by turn: 1 61 ms (0 of 128 tokens kept), 2 40 ms (159 of 224)`"""
    each = [
        f"{turn.turn} {format_ns(turn.ttft_ns)} ({turn.kept_tokens} of {turn.prompt_tokens} tokens kept)"
        for turn in turns
    ]
    last = turns[-1].kv_used_bytes
    cache = "" if last is None else f"; {format_bytes(last)} of cache at the end"
    return f"TTFT by turn: {', '.join(each)}{cache}"
