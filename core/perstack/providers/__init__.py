"""One model vendor a file, and the scripted one. Never: retry policy."""
