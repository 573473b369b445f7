"""What a run does next, and doing it: steps, delegation, gates, retries."""
