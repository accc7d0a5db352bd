"""dltrain's Hydra plugins."""
