"""Callbacks: one file each; their contract is in ``base.py``."""
