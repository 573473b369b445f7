"""The composition root: the only place that knows which adapter fills which port."""
