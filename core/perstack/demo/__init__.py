"""The demonstration: a scenario for the example team, and the workspace it plays in."""
