"""What is evaluated: loaders of published data, generators, and files of one's own."""
