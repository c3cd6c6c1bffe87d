"""From workloads, backends and options to cells; opens no model."""
