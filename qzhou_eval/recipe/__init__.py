"""How a model is to be run: recipes, where they come from, and what names them."""
