"""Who turns texts into vectors: vendors, and models that need no network. An adapter a file."""
