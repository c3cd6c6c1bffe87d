"""Seeded sampling over logits: the part of a decoder that is the application's."""

from __future__ import annotations

import numpy as np

from edgebench.generation import Logits


class Sampler:
    """Draws one token for each sequence from softmax(logits / temperature).

    By Gumbel's maximum: adding Gumbel noise and taking the largest is a draw from the softmax. The noise
    is of double precision: in single precision one draw in 2^23 is 0, whose logarithm wins over any
    logit, in a vocabulary of 50,000 about once in 170 tokens.
    """

    def __init__(self, seed: int, temperature: float) -> None:
        if temperature <= 0:
            raise ValueError(f"a temperature must be above 0, got {temperature}")
        self._random = np.random.default_rng(seed)
        self._temperature = temperature

    def __call__(self, logits: Logits) -> list[int]:
        noise = self._random.standard_exponential(logits.shape)
        scores = logits / self._temperature - np.log(noise)
        tokens: list[int] = scores.argmax(axis=-1).tolist()
        return tokens
