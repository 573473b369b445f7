"""The command line: one noun a file; prints, exits, and calls services for the rest."""
