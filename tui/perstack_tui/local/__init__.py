"""The ports over a runtime in this process."""
