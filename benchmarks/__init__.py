"""What it costs: the pipeline's figures beside a baseline, measured in one run on one machine (docs/performance.md)."""
