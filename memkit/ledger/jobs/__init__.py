"""What is to be trained in the background, and who is at it."""
