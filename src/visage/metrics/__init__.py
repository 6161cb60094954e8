"""Metrics in two steps: mergeable sufficient statistics, then pure reductions."""
