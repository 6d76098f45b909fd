"""The inspector: what a memory holds, as one HTML page or in a terminal. No model is loaded."""
