"""Steps in series whose truth is known: found where they are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edgebench.trend.change_points import MIN_RUNS, Steps, believed, find_steps

NOISE = 0.01


def series(runs: int, seed: int, **steps: float) -> list[float]:
    """Log-normal noise around 1; `at_40=1.05`: from run 40 on 5 % more."""
    values = NOISE * np.random.default_rng(seed).standard_normal(runs)
    for name, factor in steps.items():
        values[int(name.removeprefix("at_")) :] += np.log(factor)
    return list(np.exp(values))


def places(values: list[float]) -> list[int]:
    return [step.at for step in find_steps(values).steps]


def test_five_percent_is_found_within_five_points() -> None:
    found = [places(series(65, seed, at_60=1.05)) for seed in range(8)]
    assert all(any(abs(at - 60) <= 1 for at in each) for each in found)


def test_noise_has_no_steps() -> None:
    found = [find_steps(series(100, seed)) for seed in range(60)]
    assert sum(each.p_value is not None and each.p_value <= 0.003 for each in found) <= 2
    assert sum(believed(found)) == 0


@pytest.mark.parametrize("at", [1, 20, 38, 39])
@pytest.mark.parametrize("factor", [0.5, 1.5, 30.0])
def test_single_outlier_is_no_step(at: int, factor: float) -> None:
    values = series(40, 7)
    values[at] *= factor
    found = find_steps(values)
    assert found.steps == ()
    assert at in found.outliers


def test_outlier_beside_a_step_hides_it_not() -> None:
    values = series(60, 3, at_40=1.08)
    values[20] *= 2
    assert places(values) == [40]


def test_step_and_way_back_are_two_steps() -> None:
    assert places(series(90, 2, at_30=1.06, at_60=1 / 1.06)) == [30, 60]


def test_two_points_of_a_new_level_are_too_few() -> None:
    assert places(series(50, 4, at_48=1.2)) == []


def test_exact_values_step_where_they_change() -> None:
    assert places([90.0] * 20 + [95.0] * 12) == [20]
    assert places([90.0] * 32) == []


def test_values_of_any_sign_are_held_against_each_other() -> None:
    draw = np.random.default_rng(0)
    values = list(draw.normal(0, 1, 60))
    assert places(values[:30] + [value + 8 for value in values[30:]]) == [30]


def test_short_series_are_said_to_be_untested() -> None:
    assert find_steps(series(MIN_RUNS - 1, 0, at_4=2.0)).p_value is None


def test_a_rare_step_among_many_series_needs_more_evidence() -> None:
    noise = [Steps((), 1.0, ())] * 99
    [weak] = [find_steps([1.0] * 10 + [1.1] * 4)]
    assert weak.p_value is not None
    assert believed([weak]) == [True]
    assert not any(believed([weak, *noise]))


def test_answer_depends_on_the_values_alone() -> None:
    values = series(80, 5, at_50=1.03)
    assert find_steps(values, seed=1) == find_steps(values, seed=1)
