"""Training examples, stored beside the records that they were made of."""
