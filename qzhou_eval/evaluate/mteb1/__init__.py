"""The adapter to mteb 1.38.30, the version of the publication: the one place that imports it."""
