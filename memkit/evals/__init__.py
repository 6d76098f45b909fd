"""Measuring what a memory holds: data, metrics, configurations, the study, one's own documents."""
