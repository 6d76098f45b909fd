"""Measurements that compare memkit with its peers and with its own other settings."""
