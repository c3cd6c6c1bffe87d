"""Names of operators in tables: short, and apart from each other."""

from __future__ import annotations

from edgebench.render.operator_names import short_names


def test_joint_names_are_told_apart_by_their_first_part() -> None:
    bias = "BiasAdd/ReadVariableOp"
    names = [f"model/re_lu/Relu;{bias}", f"model/conv_3/BiasAdd;{bias}"]
    assert short_names(names, 24) == ["model/re_lu/Relu", "model/conv_3/BiasAdd"]


def test_names_with_the_same_beginning_are_told_apart_by_their_end() -> None:
    assert short_names(["norm;norm_1", "norm;norm_2"], 24) == ["norm_1", "norm_2"]


def test_a_long_name_keeps_its_end() -> None:
    assert short_names(["model/encoder/layer_11/attention"], 16) == ["..._11/attention"]
