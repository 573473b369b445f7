"""The memory skill: what is remembered beyond a run."""
