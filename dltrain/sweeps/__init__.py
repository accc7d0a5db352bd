"""Multiruns that finish: what is tried, the ledger of the trials, and the leaderboard."""
