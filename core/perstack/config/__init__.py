"""`perstack.toml` and the environment, read into domain models."""
