"""Knowledge in the weights: adapters, their training, verification and mixing."""
