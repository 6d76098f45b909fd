"""Language models and embedders: where they come from, and how memkit drives them."""
