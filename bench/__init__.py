"""Benchmarks: each measures something beside a baseline in the same run, and prints JSON."""
