"""How much of everything a marketplace of some size needs: measured on a sample, multiplied up."""
