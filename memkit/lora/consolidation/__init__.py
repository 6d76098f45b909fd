"""Records into modules: partition, training, verification, commit."""
