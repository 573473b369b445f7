"""Workflows: the runner, and the three that are built in."""
