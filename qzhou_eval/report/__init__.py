"""Numbers to what people look at."""
