"""The routes, an area a file."""
