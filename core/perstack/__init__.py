"""Perstack for the terminal: run, record, watch and gate teams of small LLM agents."""

__version__ = "0.1.0"
