"""Pure folds from events and rows to what front ends show. Never: I/O."""
