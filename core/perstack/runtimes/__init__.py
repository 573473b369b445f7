"""Other agents' programs, as what executes an Expert: an adapter a program."""
