"""The memory in the database: entries, the text index, vectors, tags and relationships."""
