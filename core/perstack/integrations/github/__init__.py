"""GitHub, by its REST interface or by the `gh` program."""
