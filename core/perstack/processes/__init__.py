"""Starting programs so that nothing of them is left once they are closed."""
