"""What each version of the schema added, an area a file. A released one is never edited."""
