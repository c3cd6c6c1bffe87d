"""The gate of CI: policies, absolute limits, and every form that a verdict is written in."""
