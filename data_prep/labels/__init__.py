"""Labels for windows of a genome, per bin and per window, also from tracks of another assembly."""
