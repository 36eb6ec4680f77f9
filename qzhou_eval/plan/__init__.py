"""What a run will cost, from its suite and model, before any of it is here."""
