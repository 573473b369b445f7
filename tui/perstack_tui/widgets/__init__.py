"""Widgets painted line by line: attributes in, messages out."""
