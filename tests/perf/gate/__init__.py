"""Proof of the regression gate on real pairs of processes: collect, judge, hold beside other tools."""
