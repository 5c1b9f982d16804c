"""Benchmarks. Each prints its figure beside what it compares with, measured in the same run; none of them fails."""
