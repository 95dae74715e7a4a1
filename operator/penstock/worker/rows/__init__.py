"""What happens to rows between reading and writing: shape, quality, staging. Knows no system."""
