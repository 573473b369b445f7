"""A registry of Experts over HTTP: the API of Perstack's."""
