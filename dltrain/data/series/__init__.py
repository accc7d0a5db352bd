"""Series: windows over rows that follow each other in time."""
