"""Encoder and suite to result files. mteb is touched here alone, inside `evaluate.mteb1`."""
