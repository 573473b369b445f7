"""The history (append-only files) and the database (tables). Never: business rules."""
