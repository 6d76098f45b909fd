"""Slices of records with their vectors and words."""
