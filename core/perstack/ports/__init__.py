"""Protocols that the engine and services are written against."""
