"""From a source to batches: one plan of order and randomness, and feeds that carry it."""
