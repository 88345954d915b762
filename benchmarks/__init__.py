"""Measure the cost of the pipeline beside a baseline, in one run on one machine (docs/performance.md)."""
