"""The main screen and the sheets that open over it."""
