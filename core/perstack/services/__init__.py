"""The verbs that any front end may call."""
