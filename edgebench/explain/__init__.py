"""Why a deployment takes the time it takes: profiles of operators, compared, and what follows from them."""
