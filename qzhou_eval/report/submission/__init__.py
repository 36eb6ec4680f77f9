"""A run folder as the leaderboard's results repository takes it, checked before it is written."""
