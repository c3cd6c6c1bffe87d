"""Text and numbers of others, made plain; what a mistyped name may have meant."""
