"""Words for what the code below the edge tells by codes and data."""
