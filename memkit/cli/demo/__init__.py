"""What ``memkit demo`` runs, and the invented company it runs on."""
