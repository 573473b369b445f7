"""The history: append-only files in the workspace. `perstack.storage.history.store` opens it."""
