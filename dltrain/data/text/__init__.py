"""Text: from files of words to sequences of tokens."""
