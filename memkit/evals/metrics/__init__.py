"""How answers are judged, and how sure a difference is."""
