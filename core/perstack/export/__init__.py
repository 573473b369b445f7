"""Sending what happened to other programs."""
