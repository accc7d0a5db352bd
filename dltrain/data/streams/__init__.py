"""Data larger than memory, read in blocks while training."""
