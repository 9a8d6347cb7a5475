"""A new generation: everything learned anew by a second worker group, compared, and put in the first one's place."""
