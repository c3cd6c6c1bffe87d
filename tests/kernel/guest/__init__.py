"""What runs within User-mode Linux: chips whose registers are set here, and checks of what edgebench makes of them."""
