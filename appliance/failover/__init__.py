"""The protected path: what keeps calls up when a line of a branch dies."""
