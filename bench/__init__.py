"""Benchmarks: reported as ratios, never asserted."""
