"""Review loops: the verbs, one loop's way, and what its two Experts are asked."""
