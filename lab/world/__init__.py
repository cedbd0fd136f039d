"""The generated world: scenes, their pictures, what can be said of them, and noise whose truth is known."""
