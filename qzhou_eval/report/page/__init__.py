"""One self-contained HTML page of scores: no file beside it, no request to anywhere."""
