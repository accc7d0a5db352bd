"""What a run or a sweep is told of in one HTML file: ``page`` is the file itself, the others are what stands in it."""
