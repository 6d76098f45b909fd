"""English in one place: words, sentences, dates."""
