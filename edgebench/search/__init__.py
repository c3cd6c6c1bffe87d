"""From measuring variants to finding one: precision maps between fp32 and int8, under a quality floor."""
