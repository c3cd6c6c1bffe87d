"""Whether intervals of ratios hold the truth, and how often what is called sure is wrong (`make blocks`)."""
