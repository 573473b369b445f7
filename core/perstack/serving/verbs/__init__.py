"""What programs can ask for: each a name, an input, an answer, and how it fails."""
