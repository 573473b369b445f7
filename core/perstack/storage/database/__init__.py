"""Tables that every process of a workspace shares: SQLite by default, PostgreSQL where set.

Nothing here imports SQLAlchemy until a database is opened: `opener` is the light way in.
"""
