"""Pictures of scores as Vega-Lite specifications, and the rows they are drawn from.

The page draws them with the reader's choices, the picture files with ours: the same specifications.
All scores and differences are in points.
"""
