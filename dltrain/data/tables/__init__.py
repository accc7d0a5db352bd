"""Tables: from a file of columns to samples."""
