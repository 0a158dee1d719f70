"""The level ladder: the life cycle of three stories, done exactly as far as a level of the model asks."""
