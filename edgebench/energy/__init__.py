"""Energy: which source a machine has (`find_source`), or why there is none.

The seam is `source.EnergySource`; one file beside this one holds one source.
"""

from edgebench.energy.choose_source import find_source
from edgebench.energy.source import EnergySource, NoEnergy

__all__ = ["EnergySource", "NoEnergy", "find_source"]
