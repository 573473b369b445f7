"""Plugins of others: finding them, and running their code."""
