"""The base skill: file, directory, todo and command tools, run in this process."""
