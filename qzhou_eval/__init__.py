"""qzhou-eval: reproduce text-embedding leaderboard rows, and say whether they came out again."""

__version__ = "0.1.0"
